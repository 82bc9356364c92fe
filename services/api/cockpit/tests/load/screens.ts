/**
 * Many screens in one process, for measuring how they come back after the API was away: each is the page's own `Link`,
 * with a session, connections and a heartbeat's patience of its own. Run by bench/returning.py.
 *
 * In: one line of JSON, `{port, community, cookies}`, a cookie header with access and refresh token for each screen.
 * Out: a line of JSON whenever all are live, and one for each `how` that is asked for by a line on standard input.
 */
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { constants, gunzipSync } from 'node:zlib'
import { ApiError } from '../../src/api/client'
import type { Snapshot } from '../../src/api/types'
import { Link } from '../../src/live/link'
import type { LinkStatus, Source } from '../../src/live/link'
import { RETURN_MS } from '../../src/live/usePolled'

interface Asked {
  port: number
  community: string
  cookies: string[]
}

const STALE_MS = 15_000
const WINDOW_MS = 10_000
const base = '/api/v1'
/** What was answered, by route and status; no answer at all is status 0. */
const answers = new Map<string, number>()
const states: LinkStatus[] = []
const backAt: number[] = []
let told = false

const say = (what: object) => void process.stdout.write(JSON.stringify(what) + '\n')

function count(route: string, status: number): void {
  const key = `${route} ${status}`
  answers.set(key, (answers.get(key) ?? 0) + 1)
}

function run({ port, community, cookies }: Asked): void {
  const place = `${base}/communities/${community}`

  function ask(method: string, path: string, cookie: string): Promise<IncomingMessage> {
    const headers: Record<string, string> = { Cookie: cookie, 'Accept-Encoding': 'gzip' }
    if (method !== 'GET') headers['X-LinHub'] = '1'
    const route = path.split('?')[0]?.replace(place, '') ?? ''
    return new Promise((done, failed) => {
      const asking = request({ host: '127.0.0.1', port, path, method, headers, agent: false }, (answer) => {
        count(route, answer.statusCode ?? 0)
        done(answer)
      })
      asking.on('error', (error) => {
        count(route, 0)
        failed(error)
      })
      asking.end()
    })
  }

  async function refusal(answer: IncomingMessage): Promise<never> {
    answer.resume()
    const status = answer.statusCode ?? 0
    throw new ApiError(status, { title: String(status), status, detail: '' })
  }

  /** The answer whole; of a snapshot only the head is looked at, as two hundred machines would not share one processor. */
  async function whole(answer: IncomingMessage): Promise<Buffer> {
    const parts: Buffer[] = []
    for await (const part of answer) parts.push(part as Buffer)
    return Buffer.concat(parts)
  }

  function screen(index: number, given: string): void {
    let cookie = given
    let renewed = true
    let shown = false

    /** As after an outage that was longer than an access token lives. */
    async function renew(): Promise<void> {
      const answer = await ask('POST', `${base}/auth/refresh`, cookie)
      if (answer.statusCode !== 200) await refusal(answer)
      answer.resume()
      cookie = (answer.headers['set-cookie'] ?? []).map((one) => one.split(';')[0]).join('; ')
      renewed = true
    }

    async function snapshot(): Promise<Snapshot> {
      if (!renewed) await renew()
      const answer = await ask('GET', `${place}/snapshot`, cookie)
      if (answer.statusCode !== 200) await refusal(answer)
      const packed = await whole(answer)
      const head = gunzipSync(packed.subarray(0, 4096), { finishFlush: constants.Z_SYNC_FLUSH }).toString()
      const cursor = Number(/"cursor":(\d+)/.exec(head)?.[1])
      const at = /"at":"([^"]+)"/.exec(head)?.[1] ?? ''
      return { cursor, at } as unknown as Snapshot
    }

    function open(cursor: number): Source {
      const heard = new Map<string, (event: MessageEvent<string>) => void>()
      let closed = false
      let tail = ''
      let stop: () => void = () => undefined
      const source: Source = {
        onerror: null,
        addEventListener: (type, listener) => void heard.set(type, listener),
        close: () => {
          closed = true
          stop()
        },
      }
      const fail = () => {
        if (!closed) source.onerror?.()
      }
      ask('GET', `${place}/stream?cursor=${cursor}`, cookie).then((answer) => {
        stop = () => answer.destroy()
        if (closed || answer.statusCode !== 200) {
          answer.resume()
          return fail()
        }
        answer.setEncoding('utf8')
        answer.on('data', (text: string) => {
          const events = (tail + text).split('\n\n')
          tail = events.pop() ?? ''
          for (const event of events) {
            const type = /^event: (.*)$/m.exec(event)?.[1] ?? ''
            const data = /^data: (.*)$/m.exec(event)?.[1] ?? ''
            const lastEventId = /^id: (.*)$/m.exec(event)?.[1] ?? ''
            heard.get(type)?.({ data, lastEventId } as MessageEvent<string>)
          }
        })
        answer.on('close', fail)
        answer.on('error', fail)
      }, fail)
      return source
    }

    /** What a wall asks for as soon as it is live, or, where it shows it already, within `RETURN_MS` of its return. */
    function tiles(): void {
      const curves = ['power', 'water', 'gas', 'pv'].map((name) => `/forecasts/${name}`)
      for (const path of ['/tiles', '/elders', '/on-duty', ...curves]) {
        const then = () => void ask('GET', place + path, cookie).then(whole, () => undefined)
        setTimeout(then, shown ? Math.random() * RETURN_MS : 0)
      }
      shown = true
    }

    const link = new Link(
      {
        snapshot,
        open,
        now: Date.now,
        after: (ms, then) => {
          const timer = setTimeout(then, ms)
          return () => clearTimeout(timer)
        },
        random: Math.random,
      },
      {
        onSnapshot: () => undefined,
        onEvent: () => undefined,
        onStatus: (status) => {
          states[index] = status
          if (status === 'live') {
            backAt[index] = Date.now()
            tiles()
          } else {
            told = false
            renewed = false
          }
          if (!told && states.every((one) => one === 'live')) {
            told = true
            say({ live: states.length, at: backAt, answers: Object.fromEntries(answers) })
            answers.clear()
          }
        },
        onRefused: (error) => say({ refused: error.status, screen: index }),
      },
      STALE_MS,
    )
    // Opened over some seconds, as screens are.
    setTimeout(() => link.start(), (index * WINDOW_MS) / cookies.length)
  }

  states.push(...cookies.map(() => 'connecting' as const))
  backAt.push(...cookies.map(() => 0))
  cookies.forEach((cookie, index) => screen(index, cookie))
}

createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'how')
    say({ answers: Object.fromEntries(answers), live: states.filter((one) => one === 'live').length })
  else run(JSON.parse(line) as Asked)
})
