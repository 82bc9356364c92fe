-- add keys and displays: owned by keys
SELECT 1;
