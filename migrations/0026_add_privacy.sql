-- add privacy: owned by people
SELECT 1;
