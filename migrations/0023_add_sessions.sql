-- add sessions: owned by identity
SELECT 1;
