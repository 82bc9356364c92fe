/** The API by cookie: every call names a time limit, every refusal becomes an ApiError. */
import type {
  Alert,
  Catalogue,
  Community,
  Device,
  Evidence,
  MoveIn,
  Notice,
  OnDuty,
  Order,
  OrderDetail,
  Page,
  Problem,
  PublicData,
  Report,
  Series,
  Session,
  Snapshot,
  User,
} from './types'

export const BASE = '/api/v1'

/** `status` 0: no answer at all (network, time limit). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(problem.detail || problem.title)
  }
}

/** `body`: JSON, or a form that is sent as it is. */
export async function call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json', ...options.headers }
  // A page of another origin cannot add this header without asking first: the proof that the cookie's owner meant it.
  if (method !== 'GET') headers['X-LinHub'] = '1'
  const form = options.body instanceof FormData
  if (options.body !== undefined && !form) headers['Content-Type'] = 'application/json'
  if (options.key) headers['Idempotency-Key'] = options.key
  let answer: Response
  try {
    answer = await fetch(BASE + path, {
      method,
      headers,
      body: form
        ? (options.body as FormData)
        : options.body === undefined
          ? undefined
          : JSON.stringify(options.body),
      credentials: 'same-origin',
      cache: 'no-store',
      signal: AbortSignal.timeout((options.limit_s ?? 20) * 1000),
    })
  } catch (error) {
    throw new ApiError(0, { title: 'unreachable', status: 0, detail: String(error) })
  }
  const text = await answer.text().catch(() => '')
  if (answer.ok) return (text ? JSON.parse(text) : undefined) as T
  throw new ApiError(answer.status, readProblem(answer.status, answer.statusText, text))
}

export interface CallOptions {
  body?: unknown
  headers?: Record<string, string>
  key?: string
  limit_s?: number
}

/** What a refusal says; a proxy's page that is not JSON is told by its status. */
export function readProblem(status: number, statusText: string, text: string): Problem {
  const plain = { title: statusText || String(status), status, detail: '' }
  try {
    const body = JSON.parse(text) as Partial<Problem> | null
    if (typeof body?.title !== 'string') return plain
    return {
      title: body.title,
      status,
      detail: String(body.detail ?? ''),
      ...(Array.isArray(body.errors) ? { errors: body.errors } : {}),
      ...(body.current ? { current: body.current } : {}),
    }
  } catch {
    return plain
  }
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
  /** As the move, and from the second time on a rung up the ladder. */
  urge: (order: string, body: Pick<MoveIn, 'version' | 'reason'>, key: string) =>
    call<Order>('POST', `/orders/${id(order)}/urge`, { body, key }),
  /** As the move, and it is kept with what the residents reported. */
  callBack: (order: string, body: Pick<MoveIn, 'version' | 'outcome' | 'note'>, key: string) =>
    call<Order>('POST', `/orders/${id(order)}/call-back`, { body, key }),
  evidence: (order: string) => call<Page<Evidence>>('GET', `/orders/${id(order)}/evidence?limit=100`),
  reports: (order: string) => call<Page<Report>>('GET', `/orders/${id(order)}/reports`),
  notices: (order: string) => call<Notice[]>('GET', `/orders/${id(order)}/notices?limit=50`),
  onDuty: (community: string) => call<OnDuty>('GET', `/communities/${id(community)}/on-duty`),
}
