/** The rooms behind the cockpit, one a task: a folder here and a line in this list. */
import type { Component } from 'vue'
import type { Word } from '../i18n/words'

/** What each room is given. `part` is the rest of the path after its name, such as a device's id. */
export interface RoomProps {
  community: string
  user: import('../api/types').User
  part: string
}

export interface Room {
  /** First part of the path: `/silences`. */
  path: string
  title: Word
  /** Roles that the API would answer; the API decides (services/domain/access.py). */
  roles: readonly string[]
  load: () => Promise<{ default: Component }>
}

const DESK = ['desk', 'admin'] as const
const STAFF = ['staff', 'grid', 'desk', 'street', 'admin'] as const

export const ROOMS: readonly Room[] = [
  {
    path: '/elders',
    title: 'elders',
    roles: ['grid', 'desk', 'admin', 'staff', 'street'],
    load: () => import('./elders/Elders.vue'),
  },
  {
    path: '/people',
    title: 'room_people',
    roles: ['grid', 'desk', 'admin'],
    load: () => import('./people/People.vue'),
  },
  {
    path: '/commands',
    title: 'room_commands',
    roles: ['grid', 'street', ...DESK],
    load: () => import('./commands/Commands.vue'),
  },
  {
    path: '/lamps',
    title: 'cmd_lamps',
    roles: ['grid', 'street', ...DESK],
    load: () => import('./commands/Lamps.vue'),
  },
  { path: '/cases', title: 'room_cases', roles: DESK, load: () => import('./cases/Cases.vue') },
  { path: '/silences', title: 'room_silences', roles: DESK, load: () => import('./silences/Silences.vue') },
  { path: '/rules', title: 'room_rules', roles: DESK, load: () => import('./rules/Rules.vue') },
  { path: '/rosters', title: 'room_rosters', roles: STAFF, load: () => import('./rosters/Rosters.vue') },
  {
    path: '/figures',
    title: 'room_figures',
    roles: ['street', ...DESK],
    load: () => import('./figures/Figures.vue'),
  },
  {
    path: '/displays',
    title: 'room_displays',
    roles: ['desk', 'admin'],
    load: () => import('./displays/Displays.vue'),
  },
  { path: '/keys', title: 'room_keys', roles: ['admin'], load: () => import('./keys/Keys.vue') },
  {
    path: '/city',
    title: 'room_city',
    roles: ['street', 'platform', 'admin'],
    load: () => import('./city/City.vue'),
  },
  { path: '/audit', title: 'room_audit', roles: ['admin'], load: () => import('./audit/Audit.vue') },
  {
    path: '/registry',
    title: 'registry_room',
    roles: ['desk', 'admin'],
    load: () => import('./registry/Registry.vue'),
  },
  {
    path: '/plan',
    title: 'plan_room',
    roles: ['desk', 'admin'],
    load: () => import('./plan/PlanEditor.vue'),
  },
  {
    path: '/accounts',
    title: 'accounts',
    roles: ['staff', 'grid', 'desk', 'street', 'platform', 'admin'],
    load: () => import('./accounts/Accounts.vue'),
  },
]

export function roomsFor(role: string): readonly Room[] {
  return ROOMS.filter((room) => room.roles.includes(role))
}

/** The room a path names, and what stands after its name; null for the cockpit itself. */
export function roomAt(pathname: string): { room: Room; part: string } | null {
  const [, name = '', ...rest] = pathname.split('/')
  const room = ROOMS.find((one) => one.path === `/${name}`)
  return room ? { room, part: decodeURIComponent(rest.join('/')) } : null
}
