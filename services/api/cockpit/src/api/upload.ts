/** Sends one file as evidence of an order, telling how far it is: fetch cannot say, so an XMLHttpRequest does it. */
import { ApiError, BASE, readProblem } from './client'
import { keeper } from './session'
import type { Evidence, EvidenceSort, Phase } from './types'

/** An uplink of a cellar needs its time; the server cuts what takes longer. */
const LIMIT_MS = 300_000

export interface Upload {
  order: string
  file: Blob
  name: string
  sort: EvidenceSort
  phase: Phase
  /** The same on every retry of the same file. */
  key: string
}

/** Raises ApiError, `status` 0 where there was no answer. `share`: from 0 to 1. */
export async function upload(what: Upload, onShare: (share: number) => void): Promise<Evidence> {
  await keeper.fresh()
  const form = new FormData()
  form.append('file', what.file, what.name)
  const query = new URLSearchParams({ sort: what.sort, phase: what.phase })
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open('POST', `${BASE}/orders/${encodeURIComponent(what.order)}/evidence?${query}`)
    request.timeout = LIMIT_MS
    request.setRequestHeader('Accept', 'application/json')
    request.setRequestHeader('X-LinHub', '1')
    request.setRequestHeader('Idempotency-Key', what.key)
    request.upload.onprogress = (event) => {
      if (event.lengthComputable && event.total > 0) onShare(event.loaded / event.total)
    }
    const unreachable = () => reject(new ApiError(0, { title: 'unreachable', status: 0, detail: '' }))
    request.onerror = unreachable
    request.ontimeout = unreachable
    request.onabort = unreachable
    request.onload = () => {
      const { status, statusText, responseText } = request
      if (status < 200 || status > 299)
        reject(new ApiError(status, readProblem(status, statusText, responseText)))
      else resolve(JSON.parse(responseText) as Evidence)
    }
    request.send(form)
  })
}
