/** The service worker: registered, and a new build offered, never forced on somebody who is in the middle of something. */
import { ref } from 'vue'

export const waiting = ref<ServiceWorker | null>(null)

export async function register(): Promise<void> {
  if (!('serviceWorker' in navigator) || !import.meta.env.PROD) return
  try {
    const registration = await navigator.serviceWorker.register('/m/sw.js', {
      scope: '/m/',
      updateViaCache: 'none',
    })
    const found = (worker: ServiceWorker | null) => {
      // Without a controller it is the first one, which replaces nobody.
      if (worker?.state === 'installed' && navigator.serviceWorker.controller) waiting.value = worker
    }
    found(registration.waiting)
    registration.addEventListener('updatefound', () => {
      const worker = registration.installing
      worker?.addEventListener('statechange', () => found(worker))
    })
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') void registration.update().catch(() => undefined)
    })
  } catch {
    // No worker (private window, a certificate that is not trusted): the page works, it only does not open offline.
  }
}

export function reload(): void {
  navigator.serviceWorker.addEventListener('controllerchange', () => location.reload(), { once: true })
  waiting.value?.postMessage('now')
}
