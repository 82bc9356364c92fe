/** Who above reads what is written in an order: of its own cases, the words of these moves (services/domain/city/cases.py). */
import type { CaseAbove, Move } from '../api/types'
import { t } from '../i18n'

const READ: ReadonlySet<Move> = new Set<Move>(['cancel', 'false_alarm', 'pause', 'resolve'])

/** Platforms to whom an order's own words are told: of one that another case has joined, they stay here. */
export function readers(cases: readonly CaseAbove[]): string {
  const whose = cases.filter((one) => !one.joined).map((one) => one.account)
  return [...new Set(whose)].join(t('list_comma'))
}

/** What to mind while writing; empty: nobody above reads it. */
export function readAbove(move: Move, cases: readonly CaseAbove[]): string {
  const who = readers(cases)
  if (!who || !READ.has(move)) return ''
  return (move === 'cancel' ? t('case_returns', { who }) : '') + t('case_reads', { who })
}
