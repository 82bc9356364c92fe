/** Where the phone believes to be. */
import type { Position } from '../../api/types'

/** Browsers tell no position on plain http. */
export const able =
  typeof navigator !== 'undefined' && 'geolocation' in navigator && globalThis.isSecureContext

/** Whether asking would not trouble anybody. */
export async function granted(): Promise<boolean> {
  if (!able) return false
  try {
    return (await navigator.permissions.query({ name: 'geolocation' })).state === 'granted'
  } catch {
    return false
  }
}

/** null: none was found, `denied`: none may be. */
export function position(limitMs: number): Promise<Position | null | 'denied'> {
  return new Promise((resolve) => {
    navigator.geolocation.getCurrentPosition(
      ({ coords }) =>
        resolve({ latitude: coords.latitude, longitude: coords.longitude, accuracy_m: coords.accuracy }),
      (error) => resolve(error.code === error.PERMISSION_DENIED ? 'denied' : null),
      { enableHighAccuracy: true, timeout: limitMs, maximumAge: 30_000 },
    )
  })
}
