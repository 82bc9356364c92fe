-- what the key figures are counted from
SELECT 1;
