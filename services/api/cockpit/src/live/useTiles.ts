/** The small figures of now (parking, bins, air, facilities, PV, use), asked for once for all tiles that show them. */
import type { InjectionKey } from 'vue'
import { inject } from 'vue'
import { api } from '../api/client'
import type { Tiles } from '../api/tiles'
import type { Live } from './useLive'
import type { Polled } from './usePolled'
import { usePolled } from './usePolled'

export const TILES_EVERY_MS = 20_000
/** Older than this they are no longer said as if they were so now. */
export const TILES_LIMIT_MS = 90_000

export const TILES: InjectionKey<Polled<Tiles>> = Symbol('tiles')

export function createTiles(community: string, live: Live): Polled<Tiles> {
  return usePolled(live, TILES_EVERY_MS, () => api.tiles(community))
}

export function useTiles(): Polled<Tiles> {
  const tiles = inject(TILES)
  if (!tiles) throw new Error('no tiles above this component')
  return tiles
}
