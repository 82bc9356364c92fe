/** Pictures of one order: those the server keeps, and those on their way, each sent once whatever the network does. */
import type { Ref } from 'vue'
import { onUnmounted, ref, shallowRef, watch } from 'vue'
import { ApiError, api } from '../api/client'
import { idempotencyKey } from '../api/key'
import type { Evidence, EvidenceSort, OrderDetail, Phase } from '../api/types'
import { upload } from '../api/upload'
import { uploadFault } from '../lib/refusals'

export interface Sending {
  /** Also its Idempotency-Key: a retry is the same picture. */
  key: string
  file: Blob
  name: string
  sort: EvidenceSort
  phase: Phase
  /** Of this machine alone, for the eye. */
  preview: string
  share: number
  fault: string
}

export function useEvidence(
  order: Ref<OrderDetail | null>,
  permitted: boolean,
  changed: () => Promise<void>,
) {
  const items = shallowRef<readonly Evidence[]>([])
  const sending = ref<Sending[]>([])

  async function load(): Promise<void> {
    const asked = order.value?.id
    if (!asked || !permitted) return
    try {
      const page = await api.evidence(asked)
      if (asked === order.value?.id) items.value = page.items
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      // What is known stays; the next change of the order asks again.
    }
  }

  watch(
    () => order.value?.id,
    () => {
      items.value = []
      sending.value.forEach(forget)
      sending.value = []
    },
  )
  watch(
    () => order.value && [order.value.id, order.value.version].join(),
    (mark) => mark && void load(),
    { immediate: true },
  )
  onUnmounted(() => sending.value.forEach(forget))

  function add(files: Iterable<File | Blob>, phase: Phase, sort: EvidenceSort = 'photo'): void {
    for (const file of files) {
      const key = idempotencyKey()
      const name = file instanceof File ? file.name : `${sort}.png`
      const preview = URL.createObjectURL(file)
      sending.value.push({ key, file, name, sort, phase, preview, share: 0, fault: '' })
      void send(key)
    }
  }

  async function send(key: string): Promise<void> {
    const one = sending.value.find((other) => other.key === key)
    const id = order.value?.id
    if (!one || !id) return
    one.fault = ''
    one.share = 0
    try {
      const { file, name, sort, phase } = one
      const kept = await upload({ order: id, file, name, sort, phase, key }, (share) => (one.share = share))
      if (order.value?.id !== id) return
      items.value = [...items.value.filter((other) => other.id !== kept.id), kept]
      drop(key)
      await changed()
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      one.fault = uploadFault(error)
    }
  }

  function drop(key: string): void {
    sending.value.filter((one) => one.key === key).forEach(forget)
    sending.value = sending.value.filter((one) => one.key !== key)
  }

  function forget(one: Sending): void {
    URL.revokeObjectURL(one.preview)
  }

  return { items, sending, add, retry: send, drop }
}

export type EvidenceOf = ReturnType<typeof useEvidence>
