/** The API by cookie: every call names a time limit, every refusal becomes an ApiError. */
import type { components } from './schema'
import type { Elders } from './elders'
import type { Forecast, Tiles } from './tiles'
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
  Past,
  Problem,
  PublicData,
  ReplayMark,
  Report,
  Series,
  Session,
  Snapshot,
  User,
} from './types'
import { keeper, lifeOf } from './session'

export const BASE = '/api/v1'

/** `status` 0: no answer at all (network, time limit). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
    /** Seconds after which it may be tried again, where the server says so. */
    readonly retryAfterS: number | null = null,
  ) {
    super(problem.detail || problem.title)
  }
}

/** An answer with the version of what it shows, for `If-Match` of a change to it. */
export interface Answer<T> {
  data: T
  etag: string | null
  /** The server's clock, as HTTP writes it. */
  date: string | null
}

export interface CallOptions {
  /** A text, a form or a file is sent as it is; anything else as JSON. */
  body?: unknown
  headers?: Record<string, string>
  key?: string
  /** The version that is changed, as it was seen: somebody else's change meanwhile is a 412. */
  version?: number
  limit_s?: number
  /** Why health data is read; the API writes it down. */
  purpose?: string
}

/** Calls that make or end the session themselves. */
const BARE: ReadonlySet<string> = new Set(['/auth/login', '/auth/options'])

/** For areas of the API that have a file of their own. */
export async function call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
  return (await request<T>(method, path, options)).data
}

export async function request<T>(
  method: string,
  path: string,
  options: CallOptions = {},
): Promise<Answer<T>> {
  if (BARE.has(path)) return once<T>(method, path, options)
  await keeper.fresh()
  const sentAt = keeper.until()
  try {
    return await once<T>(method, path, options)
  } catch (error) {
    // Once, and only where the server has not taken anything in: a 401 comes before everything else.
    if (!(error instanceof ApiError) || error.status !== 401 || !keeper.mayBeEnd(sentAt)) throw error
    const renewed = await keeper.again(sentAt).catch((failure: unknown) => {
      // Not asked is not refused: whoever cannot reach the server is not thrown out by that.
      throw new ApiError(0, { title: 'unreachable', status: 0, detail: String(failure) })
    })
    if (!renewed) throw error
    return once<T>(method, path, options)
  }
}

async function once<T>(method: string, path: string, options: CallOptions): Promise<Answer<T>> {
  const { body } = options
  const plain = typeof body === 'string' || body instanceof FormData || body instanceof Blob
  const headers: Record<string, string> = { Accept: 'application/json', ...options.headers }
  // A page of another origin cannot add this header without asking first: the proof that the cookie's owner meant it.
  if (method !== 'GET') headers['X-LinHub'] = '1'
  if (body !== undefined && !plain) headers['Content-Type'] = 'application/json'
  if (options.purpose) headers['X-Purpose'] = options.purpose
  if (options.key) headers['Idempotency-Key'] = options.key
  if (options.version !== undefined) headers['If-Match'] = `"${options.version}"`
  let answer: Response
  try {
    answer = await fetch(BASE + path, {
      method,
      headers,
      body: body === undefined ? undefined : plain ? body : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      signal: AbortSignal.timeout((options.limit_s ?? 20) * 1000),
    })
  } catch (error) {
    throw new ApiError(0, { title: 'unreachable', status: 0, detail: String(error) })
  }
  const text = await answer.text().catch(() => '')
  if (answer.ok) {
    const json = answer.headers.get('Content-Type')?.includes('json') ?? false
    return {
      data: (text && json ? JSON.parse(text) : text || undefined) as T,
      etag: answer.headers.get('ETag'),
      date: answer.headers.get('Date'),
    }
  }
  throw new ApiError(
    answer.status,
    readProblem(answer.status, answer.statusText, text),
    Number(answer.headers.get('Retry-After')) || null,
  )
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
  login: async (username: string, password: string) => {
    const answer = await request<Session>('POST', '/auth/login', { body: { username, password } })
    keeper.learn(lifeOf(answer.data.expires_at, answer.date))
    return answer.data
  },
  logout: async () => {
    await call<undefined>('POST', '/auth/logout')
    keeper.forget()
  },
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
  replay: (community: string, at: Date) =>
    call<Past>('GET', `/communities/${id(community)}/replay?at=${id(at.toISOString())}`),
  replayMarks: async (community: string, from: Date, to: Date) => {
    const query = new URLSearchParams({ from: from.toISOString(), to: to.toISOString() })
    const answer = await call<{ marks: ReplayMark[] }>(
      'GET',
      `/communities/${id(community)}/replay/marks?${query}`,
    )
    return answer.marks
  },
  elders: (community: string) => call<Elders>('GET', `/communities/${id(community)}/elders`),
  tiles: (community: string) => call<Tiles>('GET', `/communities/${id(community)}/tiles`),
  forecast: (community: string, name: string) =>
    call<Forecast>('GET', `/communities/${id(community)}/forecasts/${id(name)}`),
  alerts: (community: string, state: 'open' | 'all', limit: number) =>
    call<Page<Alert>>('GET', `/communities/${id(community)}/alerts?state=${state}&limit=${limit}`),
  device: (device: string) => call<Device>('GET', `/devices/${id(device)}`, { purpose: 'duty' }),
  readings: (device: string, metric: string, from: Date, to: Date, bucket_s: number) => {
    const query = new URLSearchParams({
      metric,
      from: from.toISOString(),
      to: to.toISOString(),
      bucket_s: `${bucket_s}`,
    })
    return call<Series>('GET', `/devices/${id(device)}/readings?${query}`, { purpose: 'duty' })
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
  allElders: (community: string) =>
    call<components['schemas']['EldersOut']>('GET', `/communities/${id(community)}/elders?limit=1000`),
  wellbeing: (person: string, purpose: string) =>
    call<components['schemas']['ElderDetailOut']>('GET', `/people/${id(person)}/wellbeing`, { purpose }),
  onDuty: (community: string) => call<OnDuty>('GET', `/communities/${id(community)}/on-duty`),
}
