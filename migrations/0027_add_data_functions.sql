-- add data functions: owned by data
SELECT 1;
