/** Who uses this phone: known without a network, asked again with one, and never the cause of a lost act. */
import { ref, shallowRef } from 'vue'
import { ApiError, api } from '../../api/client'
import type { Catalogue, Community, User } from '../../api/types'
import { setCatalogue } from '../../lib/catalogue'
import { setZone } from '../../lib/format'
import { kick, store, useOutbox } from '../outbox/outbox'

/** `expired`: somebody is known and what waits is kept, but the server wants to see them again. */
export type Standing = 'starting' | 'nobody' | 'known' | 'expired'

const user = shallowRef<User | null>(null)
const community = shallowRef<Community | null>(null)
const standing = ref<Standing>('starting')
const outbox = useOutbox()
/** Set from the moment somebody logs out until the phone has forgotten them. */
const LEAVING = 'linhub.leaving'

async function remember(known: User): Promise<void> {
  const db = await store()
  const before = (await db.get('meta', 'user')) as User | undefined
  await db.put('meta', known, 'user')
  await db.delete('meta', 'logout')
  // What the one before has seen is theirs.
  if (before && before.id !== known.id) await forgetOrders()
  take(known)
}

function take(known: User): void {
  user.value = known
  outbox.account.value = { id: known.id, name: known.display_name }
  standing.value = 'known'
}

async function forgetOrders(): Promise<void> {
  const db = await store()
  await Promise.all([db.clear('orders'), db.clear('versions'), db.delete('meta', 'listedAt')])
}

/** What the pages need to speak: kept, since words must be there without a network too. */
async function learn(): Promise<void> {
  const db = await store()
  const kept = (await db.get('meta', 'catalogue')) as Catalogue | undefined
  if (kept) setCatalogue(kept)
  community.value = ((await db.get('meta', 'community')) as Community | undefined) ?? null
  if (community.value) setZone(community.value.timezone)
  try {
    const [catalogue, communities] = await Promise.all([api.catalogue(), api.communities()])
    setCatalogue(catalogue)
    await db.put('meta', JSON.parse(JSON.stringify(catalogue)), 'catalogue')
    const asked = new URLSearchParams(location.search).get('community') ?? user.value?.community_id
    community.value = communities.find((one) => one.id === asked) ?? communities[0] ?? null
    if (community.value) {
      setZone(community.value.timezone)
      await db.put('meta', { ...community.value }, 'community')
    }
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    if (error.status === 401) expire()
  }
}

function expire(): void {
  if (standing.value === 'known') standing.value = 'expired'
}

async function begin(): Promise<void> {
  const db = await store()
  if (localStorage.getItem(LEAVING) !== null) await forget()
  else if (await db.get('meta', 'logout')) await finishLogout()
  const known = (await db.get('meta', 'user')) as User | undefined
  if (known) {
    take(known)
    void confirm()
    await learn()
    return
  }
  // The cockpit and this page share their cookie: whoever is logged in there need not do it again.
  if (localStorage.getItem('linhub.known') !== null) {
    try {
      const now = await api.me()
      if (!now.must_change) {
        await remember(now)
        await learn()
        return
      }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
    }
  }
  standing.value = 'nobody'
}

/** Asks the server who the cookie belongs to. */
async function confirm(): Promise<void> {
  try {
    const now = await api.me()
    if (user.value && now.id !== user.value.id) await remember(now)
    else take(now)
    void kick()
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    if (error.status === 401) expire()
  }
}

/** Somebody who must choose a password of their own first, and is let in by `enter` then. Raises ApiError. */
async function login(username: string, password: string): Promise<User | null> {
  const { user: now } = await api.login(username, password)
  if (now.must_change) return now
  await enter(now)
  return null
}

async function enter(now: User): Promise<void> {
  localStorage.setItem('linhub.known', '1')
  await remember(now)
  await learn()
  void kick()
}

/** What waits stays on the phone, bound to its account. Without a network, the cookie goes as soon as there is one. */
async function logout(): Promise<void> {
  // Before anything that takes time: a page that is closed in the middle must not come up again as this person's.
  localStorage.setItem(LEAVING, '1')
  user.value = null
  outbox.account.value = null
  standing.value = 'nobody'
  await forget()
}

async function forget(): Promise<void> {
  const db = await store()
  localStorage.removeItem('linhub.known')
  await db.put('meta', true, 'logout')
  await db.delete('meta', 'user')
  await forgetOrders()
  localStorage.removeItem(LEAVING)
  await finishLogout()
}

async function finishLogout(): Promise<void> {
  try {
    await api.logout()
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    // 401: it is over already. Without an answer it is tried again at the next start, and when the network is back.
    if (error.status !== 401) return
  }
  await (await store()).delete('meta', 'logout')
}

if (typeof addEventListener !== 'undefined') {
  addEventListener('online', () => {
    void store().then(async (db) => {
      if (await db.get('meta', 'logout')) await finishLogout()
      else if (standing.value === 'known') await confirm()
    })
  })
}

export function useSession() {
  return { user, community, standing, begin, login, enter, logout, expire, confirm }
}
