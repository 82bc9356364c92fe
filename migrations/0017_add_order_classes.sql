-- classes of orders as data
SELECT 1;
