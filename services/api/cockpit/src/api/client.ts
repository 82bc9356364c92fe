/** The API by cookie: every call names a time limit, every refusal becomes an ApiError. */
import type {
  Alert,
  Catalogue,
  Community,
  Device,
  MoveIn,
  Order,
  OrderDetail,
  Page,
  Problem,
  PublicData,
  Series,
  Session,
  Snapshot,
  User,
} from './types'

const BASE = '/api/v1'

/** `status` 0: no answer at all (network, time limit). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(problem.detail || problem.title)
  }
}

async function call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' }
  // A page of another origin cannot add this header without asking first: the proof that the cookie's owner meant it.
  if (method !== 'GET') headers['X-LinHub'] = '1'
  if (options.body !== undefined) headers['Content-Type'] = 'application/json'
  if (options.key) headers['Idempotency-Key'] = options.key
  let answer: Response
  try {
    answer = await fetch(BASE + path, {
      method,
      headers,
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      credentials: 'same-origin',
      cache: 'no-store',
      signal: AbortSignal.timeout((options.limit_s ?? 20) * 1000),
    })
  } catch (error) {
    throw new ApiError(0, { title: 'unreachable', status: 0, detail: String(error) })
  }
  const text = await answer.text().catch(() => '')
  if (answer.ok) return (text ? JSON.parse(text) : undefined) as T
  throw new ApiError(answer.status, readProblem(answer, text))
}

interface CallOptions {
  body?: unknown
  key?: string
  limit_s?: number
}

function readProblem(answer: Response, text: string): Problem {
  try {
    const body = JSON.parse(text) as Partial<Problem>
    if (typeof body.title === 'string') {
      return { title: body.title, status: answer.status, detail: String(body.detail ?? '') }
    }
  } catch {
    // Not JSON: a proxy's page. The status says what can be said.
  }
  return { title: answer.statusText || String(answer.status), status: answer.status, detail: '' }
}

const id = encodeURIComponent

export const api = {
  login: (username: string, password: string) =>
    call<Session>('POST', '/auth/login', { body: { username, password } }),
  logout: () => call<undefined>('POST', '/auth/logout'),
  me: () => call<User>('GET', '/auth/me'),
  catalogue: () => call<Catalogue>('GET', '/catalogue'),
  communities: async () => {
    const answer = await call<Community[] | Page<Community>>('GET', '/communities')
    return Array.isArray(answer) ? answer : answer.items
  },
  snapshot: (community: string, limit_s: number) =>
    call<Snapshot>('GET', `/communities/${id(community)}/snapshot`, { limit_s }),
  publicData: (community: string) => call<PublicData>('GET', `/communities/${id(community)}/public`),
  streamUrl: (community: string, cursor: number) =>
    `${BASE}/communities/${id(community)}/stream?cursor=${cursor}`,
  series: (community: string, name: string, hours: number, bucket_s: number) =>
    call<Series>(
      'GET',
      `/communities/${id(community)}/series/${id(name)}?hours=${hours}&bucket_s=${bucket_s}`,
    ),
  alerts: (community: string, state: 'open' | 'all', limit: number) =>
    call<Page<Alert>>('GET', `/communities/${id(community)}/alerts?state=${state}&limit=${limit}`),
  device: (device: string) => call<Device>('GET', `/devices/${id(device)}`),
  readings: (device: string, metric: string, from: Date, to: Date, bucket_s: number) => {
    const query = new URLSearchParams({
      metric,
      from: from.toISOString(),
      to: to.toISOString(),
      bucket_s: `${bucket_s}`,
    })
    return call<Series>('GET', `/devices/${id(device)}/readings?${query}`)
  },
  order: (order: string) => call<OrderDetail>('GET', `/orders/${id(order)}`),
  move: (order: string, move: MoveIn, key: string) =>
    call<Order>('POST', `/orders/${id(order)}/moves`, { body: move, key }),
}
