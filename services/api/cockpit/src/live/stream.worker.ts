/** The shared worker that holds the streams of all tabs; what it does is in sharing.ts. */
import { STREAMED } from './link'
import type { FromTab, Tab } from './sharing'
import { Sharing } from './sharing'

const sharing = new Sharing({
  open(url, hear, fail) {
    const source = new EventSource(url)
    for (const type of STREAMED) {
      source.addEventListener(type, (message: MessageEvent<string>) =>
        hear({ type, data: message.data, id: message.lastEventId }),
      )
    }
    source.onerror = fail
    return source
  },
  now: Date.now,
})

addEventListener('connect', (event) => {
  const port = (event as MessageEvent).ports[0]
  if (!port) return
  const tab: Tab = { post: (message) => port.postMessage(message) }
  port.onmessage = (message: MessageEvent<FromTab>) => sharing.take(tab, message.data)
})
