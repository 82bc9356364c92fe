/** Copying, also on plain-http origins, which have no clipboard of their own. */

/** Whether it was copied; false: the reader has to do it by hand. */
export async function copyText(text: string): Promise<boolean> {
  const clipboard = navigator.clipboard as Clipboard | undefined
  try {
    if (clipboard) {
      await clipboard.writeText(text)
      return true
    }
  } catch {
    // Refused by the browser or by a policy: the old way may still be open.
  }
  return byHand(text)
}

function byHand(text: string): boolean {
  const before = document.activeElement as HTMLElement | null
  const field = document.createElement('textarea')
  field.value = text
  field.className = 'visually-hidden'
  // Inside the open dialog, if there is one: nothing outside of it can be selected.
  ;(document.querySelector('dialog[open]') ?? document.body).append(field)
  field.select()
  try {
    // The only way there is without TLS.
    return document.execCommand('copy')
  } catch {
    return false
  } finally {
    field.remove()
    before?.focus({ preventScroll: true })
  }
}
