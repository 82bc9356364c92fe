-- what residents report
SELECT 1;
