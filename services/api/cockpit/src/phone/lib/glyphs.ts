/** Phones have Chinese letters of their own; where a machine has none (it draws boxes), the page brings them. */

/** Two characters that look alike are boxes. */
export function boxesOnly(): boolean {
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = 24
  const context = canvas.getContext('2d', { willReadFrequently: true })
  if (!context) return true
  const drawn = (text: string): string => {
    context.clearRect(0, 0, 24, 24)
    context.font = '20px system-ui, sans-serif'
    context.fillText(text, 1, 20)
    return context.getImageData(0, 0, 24, 24).data.join()
  }
  return drawn('告') === drawn('警')
}

export function bringGlyphs(): void {
  // On a slow line the stylesheet of the font alone would double what is loaded.
  if (boxesOnly()) void import('../../styles/fonts').catch(() => undefined)
}
