-- extend registry: owned by registry
SELECT 1;
