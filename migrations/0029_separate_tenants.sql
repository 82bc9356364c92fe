-- separate tenants: owned by rls
SELECT 1;
