/** What somebody did on this phone and the server has not confirmed yet. */
import type { Order, OrderState, Problem } from '../../api/types'
import type { components } from '../../api/schema'
import type { EvidenceSort, MoveIn, Phase } from '../../api/types'

/** What the person saw when they acted: of a conflict it tells whether anything that matters has changed since. */
export interface Basis {
  state: OrderState
  assignee_id: string | null
}

export interface FileOf {
  name: string
  type: string
  /** Bytes, not a Blob: a Blob in a database does not outlive every browser's restart. */
  bytes: ArrayBuffer
}

export interface MoveAct {
  kind: 'move'
  order: string
  body: MoveIn
  basis: Basis
}

export interface EvidenceAct {
  kind: 'evidence'
  order: string
  sort: EvidenceSort
  phase: Phase
  takenAt: string
}

export interface ReportAct {
  kind: 'report'
  community: string
  fields: Record<string, string>
}

export type Act = MoveAct | EvidenceAct | ReportAct

export interface Entry {
  /** The order in which things were done on this phone. */
  seq: number
  /** The Idempotency-Key, made when it was done and never again. */
  key: string
  /** Whose it is; null: reported by nobody in particular. */
  account: string | null
  accountName: string
  /** Acts of one lane are sent one after another; lanes do not wait for each other. */
  lane: string
  /** What it is about, for people. */
  about: string
  madeAt: number
  state: 'waiting' | 'conflict'
  tries: number
  act: Act
  files: number
  problem: Problem | null
}

export type NewEntry = Omit<Entry, 'seq' | 'state' | 'tries' | 'problem' | 'files'>

/** `order`: the order as it stands by the server's answer. */
export interface Sent {
  order?: Order
  report?: components['schemas']['OpenedOut']
}
