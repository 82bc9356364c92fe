/**
 * Sends what was done while there was no network: each act once, those of one order in the order they were done.
 *
 * An act leaves the outbox when the server has said that it stands. Until then it is sent again under the same
 * Idempotency-Key, so an answer that got lost, a tab that was killed, or two tabs at once make nothing happen twice.
 * A refusal stops the acts of that order alone, until the person has looked at it. Pure but for its ports.
 */
import { ApiError } from '../../api/client'
import type { Db } from './store'
import { all, change, remove, versionOf } from './store'
import type { Basis, Entry, MoveAct, Sent } from './types'
import type { Order, Problem } from '../../api/types'

export interface Ports {
  /** Raises ApiError; `status` 0: no answer. */
  send(entry: Entry, version: number): Promise<Sent>
  /** The account whose cookie the browser has; null: nobody's. */
  account: string | null
  onDone?(entry: Entry, sent: Sent): Promise<void> | void
  onChange?(): void
}

/** Why a round ended. `empty`: nothing waits; `blocked`: what waits needs the person, or another account. */
export type Ending = 'empty' | 'blocked' | 'network' | 'busy' | 'login' | 'account'

/** An order that moves faster than one can press is somebody else's. */
const REBASES = 5
const LATER: ReadonlySet<number> = new Set([0, 408, 425, 429])

export async function sendAll(db: Db, ports: Ports): Promise<Ending> {
  const left = new Set<string>()
  for (;;) {
    const entries = await all(db)
    const next = entries.find((entry) => !left.has(entry.lane) && mine(entry, ports.account))
    if (!next) return entries.length === 0 ? 'empty' : 'blocked'
    if (next.state === 'conflict') {
      left.add(next.lane)
      continue
    }
    const ending = await sendOne(db, ports, next)
    ports.onChange?.()
    if (ending !== null) return ending
  }
}

/** Reports by nobody in particular go out whoever is logged in; they carry no account. */
export function mine(entry: Entry, account: string | null): boolean {
  return entry.account === null || entry.account === account
}

async function sendOne(db: Db, ports: Ports, entry: Entry): Promise<Ending | null> {
  let version = Math.max(await versionOf(db, entry.lane), seenVersion(entry))
  for (let rebases = 0; ; rebases += 1) {
    try {
      const sent = await ports.send(entry, version)
      await ports.onDone?.(entry, sent)
      await remove(db, entry, sent.order?.version ?? null)
      return null
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      const current = error.status === 409 ? error.problem.current : undefined
      if (
        current &&
        rebases < REBASES &&
        entry.act.kind === 'move' &&
        stillMeant(entry.act, current, entry.account)
      ) {
        version = current.version
        continue
      }
      return failed(db, entry, error)
    }
  }
}

function seenVersion(entry: Entry): number {
  return entry.act.kind === 'move' ? entry.act.body.version : 0
}

/**
 * Whether the order changed only in what does not matter to this act: a deadline that was warned of, a note, a
 * picture. Then it is asked for again at the new version; the server still judges it.
 */
export function stillMeant(act: MoveAct, current: Order, account: string | null): boolean {
  return (
    current.state === act.basis.state &&
    sameHands(act.basis, current, account) &&
    current.moves.includes(act.body.move)
  )
}

function sameHands(basis: Basis, current: Order, account: string | null): boolean {
  const now = current.assignee_id ?? null
  return now === basis.assignee_id || now === account
}

async function failed(db: Db, entry: Entry, error: ApiError): Promise<Ending | null> {
  const { status } = error
  if (status === 401) return 'login'
  if (status === 412) return 'account'
  if (LATER.has(status) || status >= 500) {
    await change(db, entry.seq, { tries: entry.tries + 1 })
    return status === 0 ? 'network' : 'busy'
  }
  await change(db, entry.seq, { state: 'conflict', tries: entry.tries + 1, problem: plain(error.problem) })
  return null
}

/** What a database can hold. */
function plain(problem: Problem): Problem {
  return JSON.parse(JSON.stringify(problem)) as Problem
}

const FIRST_MS = 2_000
const LONGEST_MS = 60_000

/** Half to all of the doubled wait, so that a street of phones does not come back in the same second. */
export function waitMs(attempt: number, random: number): number {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 10)) * (0.5 + random / 2)
}
