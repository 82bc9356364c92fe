/** The elder list by risk, as services/api/elder_models.py gives it. */
import type { Label } from './types'

export interface Elder {
  id: string
  /** Masked where this account may not know it: 王*. */
  name: string
  place: string
  level: 'high' | 'medium' | 'low' | 'none'
  score: number | null
  reasons: Label[]
  since: string | null
}

export interface Elders {
  at: string
  items: Elder[]
  counts: Record<string, number>
}
