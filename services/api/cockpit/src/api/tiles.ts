/** Shapes of the tiles and forecasts, as services/api/data/tile_models.py and forecast_models.py give them. */
import type { Label } from './types'

export interface Air {
  aqi: number | null
  level: number | null
  label: Label | null
  primary: string | null
  basis: string
}

export interface EnvironmentTile {
  ts: string | null
  stations: number
  heard: number
  temperature: number | null
  humidity: number | null
  pm2_5: number | null
  pm10: number | null
  noise: number | null
  air: Air
}

export interface ParkingTile {
  ts: string | null
  spaces: number
  left: number
  unknown: number
  long_stays: number
  long_stay_h: number
  fire_lanes: number
  fire_lanes_taken: number
  areas: { name: string; spaces: number; left: number; unknown: number }[]
}

export interface BinsTile {
  ts: string | null
  bins: number
  full: number
  full_from: number
  next_full_at: string | null
  fullest: {
    device_id: string
    name: string
    place: string
    fill: number | null
    ts: string | null
    online: boolean
    full_at: string | null
  }[]
}

export interface FacilitiesTile {
  ts: string | null
  inside: number
  visits_today: number
  items: {
    device_id: string
    name: string
    place: string
    online: boolean
    ts: string | null
    inside: number | null
    capacity: number | null
    share: number | null
    visits_today: number | null
  }[]
}

export interface PvTile {
  ts: string | null
  plants: number
  heard: number
  power_w: number | null
  export_w: number | null
  self_use_w: number | null
  self_use_share: number | null
  today_kwh: number | null
  yesterday_kwh: number | null
  charging_w: number | null
  charging: number
  chargers: number
}

export interface UseTile {
  ts: string | null
  power_w: number | null
  electricity_kwh: number | null
  electricity_kwh_before: number | null
  water_m3: number | null
  water_m3_before: number | null
  gas_m3: number | null
  gas_m3_before: number | null
}

export interface Tiles {
  at: string
  environment: EnvironmentTile
  parking: ParkingTile
  bins: BinsTile
  facilities: FacilitiesTile
  pv: PvTile
  use: UseTile
}

export interface BandPoint {
  ts_ms: number
  p10: number
  p50: number
  p90: number
}

export interface Forecast {
  name: string
  unit: string
  label: Label
  status: 'ready' | 'not_enough_history' | 'not_made_yet'
  detail: Label
  history_days: number
  needed_days: number
  made_at: string | null
  bucket_s: number
  points: BandPoint[]
  actual: { ts_ms: number; value: number | null }[]
  yesterday: {
    day: string
    hours: number
    wape: number | null
    mape: number | null
    coverage: number | null
    naive_wape: number | null
  } | null
}
