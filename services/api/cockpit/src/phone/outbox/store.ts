/** The outbox on the phone's own disk (IndexedDB): it outlives the tab, the browser and the battery. */
import type { DBSchema, IDBPDatabase } from 'idb'
import { openDB } from 'idb'
import type { OrderDetail } from '../../api/types'
import type { Entry, FileOf, NewEntry } from './types'

const NAME = 'linhub-phone'
const VERSION = 1

/** A report that this phone sent: the token is the only way to follow one that was made without a login. */
export interface KeptReport {
  id: string
  token: string | null
  community: string
  title: string
  madeAt: number
  /** Whose, where it was sent with a login. */
  account: string | null
}

export interface KeptOrder {
  account: string
  id: string
  order: OrderDetail
}

interface Schema extends DBSchema {
  outbox: { key: number; value: Omit<Entry, 'seq'> & { seq?: number }; indexes: { lane: string } }
  files: { key: [string, number]; value: FileOf & { entry: string; index: number } }
  versions: { key: string; value: number }
  orders: { key: [string, string]; value: KeptOrder; indexes: { account: string } }
  reports: { key: string; value: KeptReport }
  meta: { key: string; value: unknown }
}

export type Db = IDBPDatabase<Schema>

export function openStore(name = NAME): Promise<Db> {
  return openDB<Schema>(name, VERSION, {
    upgrade(db) {
      db.createObjectStore('outbox', { keyPath: 'seq', autoIncrement: true }).createIndex('lane', 'lane')
      db.createObjectStore('files', { keyPath: ['entry', 'index'] })
      db.createObjectStore('versions')
      db.createObjectStore('orders', { keyPath: ['account', 'id'] }).createIndex('account', 'account')
      db.createObjectStore('reports', { keyPath: 'id' })
      db.createObjectStore('meta')
    },
    blocking(_, __, event) {
      // A newer page wants to upgrade: this one must not hold it up.
      ;(event.target as IDBDatabase | null)?.close()
    },
  })
}

/** Writes the act and its files in one transaction: either all of it is kept or none. */
export async function put(db: Db, entry: NewEntry, files: readonly FileOf[] = []): Promise<Entry> {
  const tx = db.transaction(['outbox', 'files'], 'readwrite', { durability: 'strict' })
  const whole: Omit<Entry, 'seq'> = {
    ...entry,
    state: 'waiting',
    tries: 0,
    problem: null,
    files: files.length,
  }
  const [seq] = await Promise.all([
    tx.objectStore('outbox').add(whole),
    ...files.map((file, index) => tx.objectStore('files').put({ ...file, entry: entry.key, index })),
    tx.done,
  ])
  return { ...whole, seq }
}

/** In the order in which things were done. */
export async function all(db: Db): Promise<Entry[]> {
  return (await db.getAll('outbox')) as Entry[]
}

export async function filesOf(db: Db, entry: Pick<Entry, 'key'>): Promise<FileOf[]> {
  return db.getAll('files', IDBKeyRange.bound([entry.key, 0], [entry.key, Infinity]))
}

export async function change(
  db: Db,
  seq: number,
  more: Partial<Pick<Entry, 'state' | 'tries' | 'problem' | 'act'>>,
): Promise<void> {
  const tx = db.transaction('outbox', 'readwrite')
  const known = await tx.store.get(seq)
  if (known) await tx.store.put({ ...known, ...more })
  await tx.done
}

/** It is done, or given up: it goes with its files, and what the server said of the order's version stays. */
export async function remove(db: Db, entry: Entry, version: number | null = null): Promise<void> {
  const tx = db.transaction(['outbox', 'files', 'versions'], 'readwrite', { durability: 'strict' })
  await Promise.all([
    tx.objectStore('outbox').delete(entry.seq),
    tx.objectStore('files').delete(IDBKeyRange.bound([entry.key, 0], [entry.key, Infinity])),
    ...(version === null ? [] : [tx.objectStore('versions').put(version, entry.lane)]),
    tx.done,
  ])
}

export async function versionOf(db: Db, lane: string): Promise<number> {
  return (await db.get('versions', lane)) ?? 0
}
