-- photos, clips, voice and signatures of orders
SELECT 1;
