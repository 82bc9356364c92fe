/** Makes a photo small enough for a cellar's uplink, and takes out of it what nobody asked for (EXIF, place, device). */
import type { FileOf } from '../outbox/types'

const LONGEST_PX = 1600
const QUALITY = 0.82
/** Above this, a picture that cannot be made smaller here is not kept: it would fill the phone's store. */
const MOST_BYTES = 12 * 1024 * 1024

export class Unreadable extends Error {}

/** What it measures after shrinking, never enlarged. */
export function fitted(width: number, height: number, longest = LONGEST_PX): [number, number] {
  const share = Math.min(1, longest / Math.max(width, height, 1))
  return [Math.max(1, Math.round(width * share)), Math.max(1, Math.round(height * share))]
}

/** Draws it anew: only pixels survive that. Raises Unreadable where this browser cannot open it. */
export async function shrunk(file: Blob, name: string): Promise<FileOf> {
  if (file.size > MOST_BYTES * 4) throw new Unreadable()
  let image: ImageBitmap
  try {
    image = await createImageBitmap(file, { imageOrientation: 'from-image' })
  } catch {
    throw new Unreadable()
  }
  const [width, height] = fitted(image.width, image.height)
  const canvas = document.createElement('canvas')
  canvas.width = width
  canvas.height = height
  canvas.getContext('2d')?.drawImage(image, 0, 0, width, height)
  image.close()
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/jpeg', QUALITY))
  if (!blob) throw new Unreadable()
  return { name: name.replace(/\.[^.]*$/, '') + '.jpg', type: 'image/jpeg', bytes: await blob.arrayBuffer() }
}
