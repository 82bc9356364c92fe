/** Matchers and recurrences of silences as people say them. */
import { locale, t } from '../../i18n'
import type { Word } from '../../i18n/words'
import { kindLabel, severityLabel } from '../../lib/catalogue'

function list(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : []
}

function joined(items: readonly string[]): string {
  return items.join(locale.value === 'zh' ? '、' : ', ')
}

const PLACES = [
  ['buildings', 'silence_buildings'],
  ['grids', 'silence_grids'],
  ['devices', 'silence_devices'],
  ['households', 'silence_households'],
] as const satisfies readonly (readonly [string, Word])[]

export function matcherWords(
  matcher: Readonly<Record<string, unknown>>,
  ruleTitle: (id: string) => string,
): string {
  const parts: string[] = []
  const rules = list(matcher.rules)
  if (rules.includes('*')) parts.push(t('silence_every'))
  else if (rules.length > 0) parts.push(joined(rules.map(ruleTitle)))
  const kinds = list(matcher.kinds)
  if (kinds.length > 0) parts.push(joined(kinds.map(kindLabel)))
  for (const [name, label] of PLACES) {
    const named = list(matcher[name])
    if (named.length > 0) parts.push(`${t(label)} ${joined(named)}`)
  }
  if (typeof matcher.severity === 'string') {
    parts.push(t('silence_at_most', { severity: severityLabel(matcher.severity) }))
  }
  return parts.join(locale.value === 'zh' ? '；' : '; ')
}

export function recursWords(recurs: Readonly<Record<string, unknown>>): string {
  const days = list(recurs.weekdays).map((day) => t(`day_${day}` as Word))
  const hours = `${String(recurs.from).slice(0, 5)}–${String(recurs.to).slice(0, 5)}`
  return `${joined([...days, ...list(recurs.dates)])} ${hours}`
}
