/** The registry's part of the API, typed by the published schema. */
import { BASE, call } from '../../api/client'
import type { components } from '../../api/schema'

type Schemas = components['schemas']
export type RegDevice = Schemas['RegisteredDevice']
export type DeviceMade = Schemas['DeviceMade']
export type DeviceFields = Partial<Schemas['DeviceChange']>
export type RegCommunity = Schemas['RegisteredCommunity']
export type Place = Schemas['PlaceOut']
export type ImportReport = Schemas['ImportOut']
export type ImportApplied = Schemas['ImportApplied']
export type Drawing = Omit<Schemas['DrawingOut'], 'shapes'> & { shapes: Shape[] }
export interface Shape {
  kind: string
  points: [number, number][]
  name?: string | null
}
export type DrawingVersion = Schemas['DrawingVersionOut']
export type DrawingPreview = Omit<Schemas['DrawingPreview'], 'shapes'> & { shapes: Shape[] }
export type Placement = Schemas['PlacementIn']

const id = encodeURIComponent
const at = (community: string) => `/communities/${id(community)}`

export interface DeviceQuery {
  kind?: string
  building_id?: string
  grid_id?: string
  text?: string
  retired?: string
  offline?: string
  unplaced?: string
}

async function everyPage<T>(path: string, query: URLSearchParams): Promise<T[]> {
  const found: T[] = []
  query.set('limit', '500')
  for (;;) {
    const page = await call<{ items: T[]; next: string | null }>('GET', `${path}?${query}`)
    found.push(...page.items)
    if (page.next === null) return found
    query.set('cursor', page.next)
  }
}

function named(query: object): URLSearchParams {
  return new URLSearchParams(Object.entries(query).filter(([, value]) => value) as [string, string][])
}

export const registry = {
  community: (community: string) => call<RegCommunity>('GET', `${at(community)}/registry`),
  places: (community: string, sort: string, under = '') =>
    everyPage<Place>(`${at(community)}/places`, named({ sort, under })),
  place: (community: string, sort: string, place: string) =>
    call<Place>('GET', `${at(community)}/places/${sort}/${id(place)}`),
  addPlace: (community: string, body: Schemas['PlaceIn'], key: string) =>
    call<Place>('POST', `${at(community)}/places`, { body, key }),
  changePlace: (community: string, place: Place, body: Schemas['PlaceChange']) =>
    call<Place>('PATCH', `${at(community)}/places/${place.sort}/${id(place.id)}`, {
      body,
      version: place.version,
    }),
  removePlace: (community: string, place: Place) =>
    call<undefined>('DELETE', `${at(community)}/places/${place.sort}/${id(place.id)}`, {
      version: place.version,
    }),
  devices: (community: string, query: DeviceQuery) =>
    everyPage<RegDevice>(`${at(community)}/registry/devices`, named(query)),
  device: (community: string, device: string) =>
    call<RegDevice>('GET', `${at(community)}/registry/devices/${id(device)}`),
  add: (community: string, body: DeviceFields & { id: string }, key: string) =>
    call<DeviceMade>('POST', `${at(community)}/registry/devices`, { body, key }),
  change: (community: string, device: string, body: DeviceFields, version: number) =>
    call<DeviceMade>('PATCH', `${at(community)}/registry/devices/${id(device)}`, { body, version }),
  act: (community: string, device: string, action: 'retire' | 'reinstate' | 'secret', version: number) =>
    call<DeviceMade>('POST', `${at(community)}/registry/devices/${id(device)}/${action}`, { version }),
  exportUrl: (community: string, what: 'places' | 'devices', lang: string) =>
    `${BASE}${at(community)}/registry/export?what=${what}&lang=${lang}`,
  check: (community: string, what: string, remove: boolean, content: Blob) =>
    call<ImportReport>('POST', `${at(community)}/registry/imports?what=${what}&remove=${remove}`, {
      body: content,
      headers: { 'Content-Type': 'text/csv' },
      limit_s: 180,
    }),
  progress: (community: string, report: string) =>
    call<ImportReport>('GET', `${at(community)}/registry/imports/${id(report)}`),
  apply: (community: string, report: string) =>
    call<ImportApplied>('POST', `${at(community)}/registry/imports/${id(report)}/apply`, { limit_s: 300 }),
  plan: (community: string) => call<Drawing>('GET', `${at(community)}/plan`),
  versions: (community: string) =>
    call<{ items: DrawingVersion[] }>('GET', `${at(community)}/plan/drawings?limit=50`),
  preview: (community: string, file: File, datum: string, metresPerUnit: number) =>
    call<DrawingPreview>(
      'POST',
      `${at(community)}/plan/preview?datum=${datum}&metres_per_unit=${metresPerUnit}`,
      {
        body: file,
        headers: {
          'Content-Type': file.name.toLowerCase().endsWith('.svg') ? 'image/svg+xml' : 'application/geo+json',
        },
        limit_s: 60,
      },
    ),
  draw: (community: string, body: object, version: number) =>
    call<Drawing>('POST', `${at(community)}/plan/drawings`, { body, version }),
  restore: (community: string, wanted: number, version: number) =>
    call<Drawing>('POST', `${at(community)}/plan/drawings/${wanted}/restore`, { version }),
  put: (community: string, body: Partial<Placement>) =>
    call<Schemas['PlacementOut']>('PATCH', `${at(community)}/plan/places`, { body, limit_s: 60 }),
}

/** A text as a file that the browser saves. */
export function download(name: string, text: string): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob(['\ufeff', text], { type: 'text/csv' }))
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

/** One cell of a CSV: quoted, and never a formula to a spreadsheet. */
export function cell(value: unknown): string {
  const text = String(value ?? '')
  const safe = /^'*[=+\-@\t\r＝＋－＠]/.test(text) ? `'${text}` : text
  return `"${safe.replaceAll('"', '""')}"`
}
