/** A new grave order is heard and felt, not only seen: three rising tones and a long buzz, made here, no file needed. */
import { ref } from 'vue'

const KEY = 'linhub.sound'
export const sound = ref(typeof localStorage === 'undefined' || localStorage.getItem(KEY) !== 'off')
let context: AudioContext | null = null

/** Browsers let a page sound only after somebody has touched it once. */
export function arm(): void {
  addEventListener(
    'pointerdown',
    () => {
      context ??= typeof AudioContext === 'undefined' ? null : new AudioContext()
      void context?.resume()
    },
    { once: true },
  )
}

export function setSound(on: boolean): void {
  sound.value = on
  localStorage.setItem(KEY, on ? 'on' : 'off')
  if (on) ring()
}

export function ring(): void {
  navigator.vibrate?.([400, 150, 400, 150, 800])
  if (!sound.value || !context || context.state !== 'running') return
  const start = context.currentTime
  for (const [turn, pitch] of [660, 880, 1100, 660, 880, 1100].entries()) {
    const tone = context.createOscillator()
    const gain = context.createGain()
    const at = start + turn * 0.22
    tone.frequency.value = pitch
    gain.gain.setValueAtTime(0.0001, at)
    gain.gain.exponentialRampToValueAtTime(0.4, at + 0.02)
    gain.gain.exponentialRampToValueAtTime(0.0001, at + 0.2)
    tone.connect(gain).connect(context.destination)
    tone.start(at)
    tone.stop(at + 0.21)
  }
}

/** On the icon of the installed page, and in its title. */
export function badge(count: number, title: string): void {
  document.title = count > 0 ? `(${count}) ${title}` : title
  const holder = navigator as Navigator & {
    setAppBadge?(n: number): Promise<void>
    clearAppBadge?(): Promise<void>
  }
  void (count > 0 ? holder.setAppBadge?.(count) : holder.clearAppBadge?.())?.catch(() => undefined)
}
