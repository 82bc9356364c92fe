/** The alarm's voice: a signal by danger, then the words in Mandarin where this machine has a voice for them, again and again. */
import type { InjectionKey, Ref } from 'vue'
import { inject, onUnmounted, ref, watch } from 'vue'
import type { Alert } from '../api/types'
import { t } from '../i18n'
import { clock } from '../lib/format'
import type { Live } from '../live/useLive'
import type { Danger } from './chimes'
import { dangerOf, lengthOf, ring } from './chimes'
import { isQuiet, sound } from './settings'
import type { Takeover } from './useTakeover'

/** Between two rounds, so that people in the room can speak. */
const PAUSE_MS = 4000
/** A voice that never says that it has finished is not waited for longer. */
const LONGEST_SPEECH_MS = 15_000

export type VoiceState = 'silent' | 'ringing' | 'off' | 'quiet' | 'blocked' | 'none'

export interface Voice {
  state: Ref<VoiceState>
  /** How often the present alarm was sounded. */
  rounds: Ref<number>
  /** The browser would let no alarm be heard as it stands: somebody has to press something first. */
  blocked: Ref<boolean>
  /** Whether this machine can say it in Mandarin. */
  speaks: Ref<boolean>
  /** Asks the browser for permission to sound; only a press or a key may. */
  allow(): Promise<void>
  test(): Promise<void>
}

export const VOICE: InjectionKey<Voice> = Symbol('voice')

export function useVoice(): Voice {
  const voice = inject(VOICE)
  if (!voice) throw new Error('no voice above this component')
  return voice
}

export function wordsOf(alert: Pick<Alert, 'title' | 'place'>): string {
  return `紧急告警。${alert.place}。${alert.title.zh}。请立即处置。`
}

/** `watched`: a screen that hangs there to be heard; it finds out beforehand whether it would be. */
export function createVoice(live: Live, takeover: Takeover, watched: () => boolean): Voice {
  const state = ref<VoiceState>('silent')
  const rounds = ref(0)
  const speaks = ref(false)
  const blocked = ref(false)
  const speech = typeof speechSynthesis === 'undefined' ? null : speechSynthesis
  const able = typeof AudioContext !== 'undefined'
  let context: AudioContext | null = null
  let timer: ReturnType<typeof setTimeout> | undefined
  let turn = 0

  function findVoice(): SpeechSynthesisVoice | null {
    const all = speech?.getVoices() ?? []
    const mandarin = all.filter((one) => /^(zh|cmn)([-_]|$)/i.test(one.lang) && !/HK|yue/i.test(one.lang))
    speaks.value = mandarin.length > 0
    return mandarin.find((one) => one.localService) ?? mandarin[0] ?? null
  }
  const voices = () => void findVoice()
  voices()
  speech?.addEventListener('voiceschanged', voices)

  function ready(): AudioContext {
    if (!context) {
      context = new AudioContext()
      context.addEventListener('statechange', heed)
    }
    return context
  }

  function heed(): void {
    blocked.value = sound.value.on && context !== null && context.state === 'suspended'
  }

  /** After a press anywhere a page may sound; before one, only an attempt tells. */
  function findOut(): void {
    if (!able || !watched() || !sound.value.on) return
    if (context === null && (navigator.userActivation as UserActivation | undefined)?.hasBeenActive) return
    ready()
    heed()
  }

  async function allow(): Promise<void> {
    if (!able) return
    // A browser that goes on refusing leaves the promise open.
    await Promise.race([ready().resume(), new Promise((done) => setTimeout(done, 500))])
    heed()
    if (state.value === 'blocked' && ready().state === 'running') begin()
  }

  function say(words: string): Promise<void> {
    const voice = findVoice()
    if (!speech || !voice) return Promise.resolve()
    return new Promise((done) => {
      const utterance = new SpeechSynthesisUtterance(words)
      utterance.voice = voice
      utterance.lang = voice.lang
      utterance.volume = sound.value.volume
      utterance.onend = utterance.onerror = () => done()
      setTimeout(done, LONGEST_SPEECH_MS)
      speech.cancel()
      speech.speak(utterance)
    })
  }

  async function once(danger: Danger, words: string): Promise<void> {
    ring(ready(), danger, sound.value.volume)
    await new Promise((done) => setTimeout(done, lengthOf(danger) * 1000 + 300))
    await say(words)
  }

  async function round(mine: number): Promise<void> {
    const alert = takeover.alert.value
    if (mine !== turn || !alert) return
    state.value = judge()
    if (state.value === 'ringing') {
      rounds.value += 1
      await once(dangerOf(alert.kind), wordsOf(alert))
    }
    // Also where it is silent for now: the quiet hours end while the alarm still stands.
    if (mine === turn) timer = setTimeout(() => void round(mine), PAUSE_MS)
  }

  function judge(): VoiceState {
    if (!able) return 'none'
    if (!sound.value.on) return 'off'
    if (isQuiet(sound.value, clock(live.serverNow.value))) return 'quiet'
    return ready().state === 'running' ? 'ringing' : 'blocked'
  }

  function stop(): void {
    turn += 1
    clearTimeout(timer)
    speech?.cancel()
    state.value = 'silent'
  }

  function begin(): void {
    stop()
    if (takeover.alert.value) void round(turn)
  }

  watch(
    () => takeover.alert.value?.id,
    () => {
      rounds.value = 0
      begin()
    },
    { immediate: true },
  )
  watch(sound, begin, { deep: true })
  watch([watched, sound], findOut, { immediate: true, deep: true })

  // Any press of a key or the screen is the consent that browsers wait for.
  const consent = () => {
    if (context?.state === 'suspended' || takeover.alert.value) void allow()
  }
  document.addEventListener('pointerdown', consent)
  document.addEventListener('keydown', consent)
  onUnmounted(() => {
    stop()
    speech?.removeEventListener('voiceschanged', voices)
    document.removeEventListener('pointerdown', consent)
    document.removeEventListener('keydown', consent)
    void context?.close()
  })

  return {
    state,
    rounds,
    blocked,
    speaks,
    allow,
    test: async () => {
      await allow()
      if (able) await once('other', t('sound_test_words'))
    },
  }
}
