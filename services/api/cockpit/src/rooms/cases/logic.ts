/** Cases from above in words: what their platform calls them, how long is left, who reads what is written. */
import type { Case, CaseQuery, CaseState } from '../../api/city'
import { t } from '../../i18n'
import { countdown } from '../../lib/format'

/** Of the API (services/domain/city/cases.py), in its order. */
export const CASE_STATES: readonly CaseState[] = [
  'received', 'assigned', 'handling', 'suspended', 'handled', 'checked', 'closed', 'returned', 'unfounded',
  'withdrawn', 'joined',
] // prettier-ignore

export type Shown = 'open' | 'all' | 'over' | CaseState

export function caseQuery(shown: Shown, late: boolean): CaseQuery {
  if (shown === 'open' || shown === 'over') return { state: '', over: shown === 'over', late }
  return { state: shown === 'all' ? '' : shown, over: null, late }
}

/** What is left of the platform's time limit; of one that is over, whether it ended late. */
export function dueWords(one: Pick<Case, 'due_at' | 'late' | 'over'>, now: number): string {
  if (one.due_at === null) return t('case_no_limit')
  if (one.over) return one.late ? t('case_ended_late') : ''
  const left = Date.parse(one.due_at) - now
  return left > 0 ? t('case_left', { left: countdown(left) }) : t('case_late', { late: countdown(left) })
}

/** By the time that is shown, which runs on while nobody asks the API. */
export const isLate = (one: Pick<Case, 'due_at' | 'late' | 'over'>, now: number) =>
  one.late || (!one.over && one.due_at !== null && Date.parse(one.due_at) <= now)
