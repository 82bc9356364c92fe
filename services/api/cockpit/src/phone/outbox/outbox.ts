/** The page's outbox: takes acts in, shows what waits, and sends it whenever there is reason to hope. */
import { computed, ref, shallowRef } from 'vue'
import { idempotencyKey } from '../../api/key'
import type { OrderDetail, Phase, EvidenceSort, MoveIn } from '../../api/types'
import type { Ending } from './send'
import { mine, sendAll, waitMs } from './send'
import type { Db } from './store'
import { all, change, openStore, put, remove } from './store'
import { alone, deliver, keep } from './transport'
import type { Entry, FileOf, Sent } from './types'

export interface Who {
  id: string
  name: string
}

const entries = shallowRef<readonly Entry[]>([])
const account = ref<Who | null>(null)
const sending = ref(false)
const ending = ref<Ending | null>(null)
const online = ref(typeof navigator === 'undefined' ? true : navigator.onLine)
const heard = new Set<(entry: Entry, sent: Sent) => void>()

let opening: Promise<Db> | null = null
export function store(): Promise<Db> {
  opening ??= openStore()
  return opening
}

const others = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('linhub-outbox')
let timer: ReturnType<typeof setTimeout> | undefined
let attempt = 0
let again = false

async function refresh(): Promise<void> {
  entries.value = await all(await store())
}

async function told(): Promise<void> {
  await refresh()
  others?.postMessage('changed')
}

/** Sends what waits, now. Asked for while it is sending, it goes round once more. */
export async function kick(): Promise<void> {
  if (sending.value) {
    again = true
    return
  }
  clearTimeout(timer)
  sending.value = true
  try {
    const db = await store()
    do {
      again = false
      ending.value = await alone(() =>
        sendAll(db, {
          account: account.value?.id ?? null,
          send: (entry, version) => deliver(db, entry, version),
          onDone: async (entry, sent) => {
            await keep(db, entry, sent)
            for (const listener of heard) listener(entry, sent)
          },
          onChange: () => void told(),
        }),
      )
    } while (again)
  } finally {
    sending.value = false
    await told()
  }
  if (ending.value === 'network' || ending.value === 'busy') {
    timer = setTimeout(() => void kick(), waitMs(attempt++, Math.random()))
  } else {
    attempt = 0
  }
}

/** There is reason to hope: the network is back, somebody looks. */
function hope(): void {
  attempt = 0
  online.value = navigator.onLine
  if (entries.value.some((entry) => entry.state === 'waiting')) void kick()
}

async function add(entry: Parameters<typeof put>[1], files: readonly FileOf[] = []): Promise<Entry> {
  const kept = await put(await store(), entry, files)
  await told()
  void askToSync()
  void kick()
  return kept
}

/** Chromium wakes the worker when there is a network again, with the tab closed; elsewhere the page does it. */
async function askToSync(): Promise<void> {
  try {
    const registration = await navigator.serviceWorker?.getRegistration()
    await (
      registration as unknown as { sync?: { register(tag: string): Promise<void> } } | undefined
    )?.sync?.register('outbox')
  } catch {
    // No permission, or no such thing: the page sends by itself.
  }
}

const laneOf = (order: string) => `order:${order}`

function headOf(
  order: OrderDetail,
  who: Who,
): Omit<Entry, 'seq' | 'state' | 'tries' | 'problem' | 'files' | 'act'> {
  return {
    key: idempotencyKey(),
    account: who.id,
    accountName: who.name,
    lane: laneOf(order.id),
    about: `#${order.number} ${order.title.zh}`,
    madeAt: Date.now(),
  }
}

/** `shown`: the order as the person saw it, acts that wait included. */
export async function move(shown: OrderDetail, body: Omit<MoveIn, 'version'>): Promise<void> {
  const who = account.value
  if (!who) throw new Error('nobody is logged in')
  const basis = { state: shown.state, assignee_id: shown.assignee_id ?? null }
  await add({
    ...headOf(shown, who),
    act: { kind: 'move', order: shown.id, body: { ...body, version: shown.version } as MoveIn, basis },
  })
}

export async function evidence(
  shown: OrderDetail,
  file: FileOf,
  phase: Phase,
  sort: EvidenceSort,
): Promise<void> {
  const who = account.value
  if (!who) throw new Error('nobody is logged in')
  const takenAt = new Date().toISOString()
  await add({ ...headOf(shown, who), act: { kind: 'evidence', order: shown.id, sort, phase, takenAt } }, [
    file,
  ])
}

/** `by` null: kept with no account, whoever is logged in. */
export async function report(
  community: string,
  fields: Record<string, string>,
  files: readonly FileOf[],
  about: string,
  by: Who | null,
): Promise<Entry> {
  const key = idempotencyKey()
  return add(
    {
      key,
      account: by?.id ?? null,
      accountName: by?.name ?? '',
      lane: `report:${key}`,
      about,
      madeAt: Date.now(),
      act: { kind: 'report', community, fields },
    },
    files,
  )
}

async function retry(entry: Entry): Promise<void> {
  const { act } = entry
  const current = entry.problem?.current
  // The person has seen how it stands now, and means it still.
  const seen =
    act.kind === 'move' && current
      ? { ...act, basis: { state: current.state, assignee_id: current.assignee_id ?? null } }
      : act
  await change(await store(), entry.seq, { state: 'waiting', problem: null, act: seen })
  await told()
  void kick()
}

async function discard(...gone: readonly Entry[]): Promise<void> {
  const db = await store()
  for (const entry of gone) await remove(db, entry)
  await told()
  void kick()
}

export function useOutbox() {
  return {
    entries,
    account,
    sending,
    ending,
    online,
    /** What this account has waiting. */
    own: computed(() => entries.value.filter((entry) => mine(entry, account.value?.id ?? null))),
    /** Of people who used this phone before. */
    foreign: computed(() => entries.value.filter((entry) => !mine(entry, account.value?.id ?? null))),
    retry,
    discard,
    kick,
    onSent: (listener: (entry: Entry, sent: Sent) => void) => {
      heard.add(listener)
      return () => heard.delete(listener)
    },
  }
}

/** Called once by the page. */
export async function begin(): Promise<void> {
  addEventListener('online', hope)
  addEventListener('offline', () => (online.value = false))
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') hope()
  })
  others?.addEventListener('message', () => void refresh())
  navigator.serviceWorker?.addEventListener('message', (event) => {
    if (event.data === 'outbox') void refresh()
  })
  await refresh()
}
