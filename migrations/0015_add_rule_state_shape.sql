-- what a rule watched when it remembered this: a changed rule must not go on with what another one learned
ALTER TABLE rule_state ADD COLUMN shape text NOT NULL DEFAULT '';
COMMENT ON COLUMN rule_state.shape IS 'kind of rule and what it watches; empty: from before it was kept, taken as it is';
