/** The elder list by risk, as services/api/people/elder_models.py gives it. */
import type { Label } from './types'

export interface Elder {
  id: string
  /** Masked for all but those who look after them: 王**. */
  name: string
  age: number | null
  building: string | null
  lives_alone: boolean
  away_until: string | null
  score: number
  level: 'high' | 'medium' | 'low'
  factors: { code: string; weight: number; words: Label }[]
  last_sign_at: string | null
  open_alerts: number
}

export interface Elders {
  at: string
  counts: { all: number; high: number; medium: number; low: number; away: number; masked: boolean }
  items: Elder[]
}
