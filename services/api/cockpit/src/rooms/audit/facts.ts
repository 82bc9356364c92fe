/** The detail of a line of the trail as names and values: what the writer put there, readable without braces. */

/** Nested names are joined by a point; lists by a comma; what is empty is a dash. */
export function facts(detail: unknown, prefix = ''): [name: string, value: string][] {
  if (detail === null || typeof detail !== 'object') return prefix ? [[prefix, plain(detail)]] : []
  return Object.entries(detail).flatMap(([key, value]): [string, string][] => {
    const name = prefix ? `${prefix}.${key}` : key
    if (Array.isArray(value)) return [[name, value.map(plain).join(', ') || '–']]
    if (value !== null && typeof value === 'object') return facts(value, name)
    return [[name, plain(value)]]
  })
}

function plain(value: unknown): string {
  if (value === null || value === undefined || value === '') return '–'
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
