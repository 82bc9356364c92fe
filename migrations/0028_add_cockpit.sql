-- add cockpit: owned by wall/desk
SELECT 1;
