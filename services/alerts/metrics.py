"""What the alert engine measures of itself."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

LAG_ENTRIES = Gauge("linhub_alerts_lag_entries", "Log entries not yet evaluated", ["partition", "lane"])
LAG_SECONDS = Gauge("linhub_alerts_lag_seconds", "Age of the oldest log entry not yet evaluated", ["partition"])
EVALUATIONS = Counter("linhub_alerts_evaluations_total", "Rule evaluations")
ITEMS = Counter("linhub_alerts_items_total", "Items read from the log", ["lane"])
RAISED = Counter("linhub_alerts_raised_total", "Alerts raised")
ORDERS = Counter("linhub_alerts_orders_opened_total", "Work orders opened")
HELD = Gauge("linhub_alerts_held", "Alerts held back now, by reason", ["partition", "reason"])
RELEASED = Counter("linhub_alerts_released_total", "Alerts that were held back and went out after all")
SUPPRESSED = Counter("linhub_alerts_suppressed_total", "Alerts that were over before they sent anybody", ["reason"])
ESCALATIONS = Counter("linhub_alerts_escalations_total", "Steps up the ladder", ["clock"])
ROSTER_GAPS = Gauge("linhub_alerts_roster_gaps", "Stretches ahead in which nobody of a team is on duty, or now")
ROSTER_CHANGES = Counter("linhub_alerts_roster_changes_total", "Changes of shift that were told")
ROSTER_FAULTS = Counter("linhub_alerts_roster_faults_total", "Rosters, rotas or offers that could not be dealt with")
OFFERED_ANEW = Counter("linhub_alerts_orders_offered_anew_total", "Orders nobody took that went to the next shift")
CLOCKS = Counter(
    "linhub_alerts_order_clocks_total",
    "What time made due on orders and was done: warn, breach, escalate, resume",
    ["what", "clock", "class_id"],
)
CLOCK_FAULTS = Counter(
    "linhub_alerts_order_clock_faults_total", "Orders whose clocks could not be dealt with; the others go on"
)
PURGED = Counter("linhub_alerts_purged_rows_total", "Rows let go of because they were old", ["what"])
PLANS = Counter("linhub_alerts_plans_started_total", "Runs of linkage plans")
PLAN_FAULTS = Counter("linhub_alerts_plan_faults_total", "Plans that could not be started or taken on; alerts stand")
COMMANDS = Counter("linhub_alerts_commands_sent_total", "Commands that the broker took, repeats included")
COMMANDS_WITHDRAWN = Counter(
    "linhub_alerts_commands_withdrawn_total", "Commands not sent because whoever answers for them may not any more"
)
COMMANDS_CONFIRMED = Counter("linhub_alerts_commands_confirmed_total", "Commands that readings or events have shown")
LAMP_COMMANDS = Counter("linhub_alerts_lamp_commands_total", "Commands that lamp schedules have made")
UNREVIEWED = Counter("linhub_alerts_emergencies_unreviewed_total", "Emergencies that nobody reviewed within a day")
STRAY_REPLIES = Counter("linhub_alerts_stray_replies_total", "Replies that moved no command", ["reason"])
OVERTAKEN = Counter("linhub_alerts_overtaken_total", "Readings older than one already evaluated; they page nobody")
UNREADABLE = Counter("linhub_alerts_unreadable_total", "Log entries that made no sense")
UNKNOWN = Counter("linhub_alerts_unknown_device_total", "Items of devices that are not in the registry")
FAULTS = Counter("linhub_alerts_rule_faults_total", "Rules set aside for a subject after an exception", ["rule"])
UNREADABLE_RULES = Gauge(
    "linhub_alerts_rules_unreadable",
    "Stored rules that cannot be used; an older text stands",
    ["partition"],
)
SET_ASIDE = Gauge("linhub_alerts_rules_set_aside", "(Rule, subject) pairs left alone after an exception", ["partition"])
STATES = Gauge("linhub_alerts_rule_states", "What rules remember: states in memory", ["partition"])
MEMORY = Gauge("linhub_alerts_memory_bytes", "Estimate of what devices and states take in memory", ["partition"])
GAPS = Counter("linhub_alerts_log_gap_entries_total", "Log entries purged before they were evaluated", ["partition"])
RELOADS = Counter("linhub_alerts_reloads_total", "Times a partition was built again from the database", ["why"])
PARTITIONS = Gauge("linhub_alerts_partitions_owned", "Partitions this engine owns; 0 means standby")
TICK_SECONDS = Histogram("linhub_alerts_tick_seconds", "Time of one tick of one partition")
COMMIT_SECONDS = Histogram("linhub_alerts_commit_seconds", "Time of one transaction")
EVENT_SECONDS = Histogram(
    "linhub_alerts_event_to_order_seconds",
    "From the commit of an event to the commit of its order",
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2, 5, 10),
)
