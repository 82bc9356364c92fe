-- devices that speak other people's formats: what those call them, and whose names and units they use
ALTER TABLE device ADD COLUMN address text CHECK (address <> '');
ALTER TABLE device ADD COLUMN profile text CHECK (profile <> '');
CREATE UNIQUE INDEX device_address ON device (gateway_no, address) 
    WHERE address IS NOT NULL AND gateway_no IS NOT NULL AND retired_at IS NULL;
COMMENT ON COLUMN device.address IS 'meter number, DevEUI, friendly name …: how the publisher''s format names it, where not by id';
COMMENT ON COLUMN device.profile IS 'vendor profile: names and units of the vendor onto the metrics of the kind';
