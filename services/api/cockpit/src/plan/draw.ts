/** Draws every device on the canvas layer: a dot far off, a lettered chip near by, hollow where it is offline. */
import type { Device } from '../api/types'
import type { Size, View } from './view'

export interface Ink {
  device: string
  offline: string
  chip: string
  chipLine: string
  letter: string
  count: string
  selected: string
  font: string
}

/** From this scale on (pixels a metre) the devices inside a building are drawn; before, the building counts them. */
export const INDOOR_SCALE = 3.2
/** From this scale on a device is a chip that says its kind. */
export const CHIP_SCALE = 7
const CHIP_PX = 9

export function dotRadius(scale: number): number {
  return Math.min(4.5, Math.max(1.3, 0.9 + scale * 0.45))
}

function shown(device: Device, scale: number): boolean {
  return scale >= INDOOR_SCALE || device.building_id === null
}

export function drawDevices(
  context: CanvasRenderingContext2D,
  devices: Iterable<Device>,
  view: View,
  screen: Size,
  dpr: number,
  ink: Ink,
  initial: (kind: string) => string,
  selected: string | null,
): void {
  context.setTransform(dpr, 0, 0, dpr, 0, 0)
  context.clearRect(0, 0, screen.width, screen.height)
  const left = screen.width / 2 - view.cx * view.scale
  const top = screen.height / 2 - view.cy * view.scale
  const seen: Spot[] = []
  let chosen: Spot | null = null
  for (const device of devices) {
    if (!shown(device, view.scale) && device.id !== selected) continue
    const x = left + device.x * view.scale
    const y = top + device.y * view.scale
    if (x < -12 || y < -12 || x > screen.width + 12 || y > screen.height + 12) continue
    const spot = { device, x, y }
    seen.push(spot)
    if (device.id === selected) chosen = spot
  }
  if (view.scale >= CHIP_SCALE) drawChips(context, seen, ink, initial)
  else drawDots(context, seen, dotRadius(view.scale), ink)
  if (chosen) {
    context.strokeStyle = ink.selected
    context.lineWidth = 2
    context.beginPath()
    context.arc(chosen.x, chosen.y, CHIP_PX + 4, 0, Math.PI * 2)
    context.stroke()
  }
}

/** Words at a place of the screen, in CSS pixels. */
export interface Count {
  text: string
  x: number
  y: number
}

/** Signs drawn once and then stamped: the shaping of text costs many times what a small picture does. */
export class Stamps {
  private readonly kept = new Map<string, { picture: OffscreenCanvas; advance: number }>()

  constructor(
    private readonly size: number,
    private readonly dpr: number,
    private readonly ink: Ink,
  ) {}

  /** Expects a context that is scaled by `dpr`. */
  draw(context: CanvasRenderingContext2D, counts: readonly Count[]): void {
    for (const { text, x, y } of counts) {
      const signs = Array.from(text, (sign) => this.of(sign))
      let left = x - signs.reduce((sum, one) => sum + one.advance, 0) / 2
      for (const { picture, advance } of signs) {
        const width = picture.width / this.dpr
        const height = picture.height / this.dpr
        context.drawImage(picture, left + (advance - width) / 2, y - height / 2, width, height)
        left += advance
      }
    }
  }

  private of(sign: string): { picture: OffscreenCanvas; advance: number } {
    let stamp = this.kept.get(sign)
    if (!stamp) {
      const font = `${this.size * this.dpr}px ${this.ink.font}`
      const picture = new OffscreenCanvas(1, 1)
      let context = picture.getContext('2d')
      if (context) context.font = font
      const advance = context?.measureText(sign).width ?? 0
      picture.width = Math.ceil(advance) + 2
      picture.height = Math.ceil(this.size * this.dpr * 1.4)
      // Another size is another surface.
      context = picture.getContext('2d')
      if (context) {
        context.font = font
        context.textAlign = 'center'
        context.textBaseline = 'middle'
        context.fillStyle = this.ink.count
        context.fillText(sign, picture.width / 2, picture.height / 2)
      }
      stamp = { picture, advance: advance / this.dpr }
      this.kept.set(sign, stamp)
    }
    return stamp
  }
}

interface Spot {
  device: Device
  x: number
  y: number
}

function drawDots(context: CanvasRenderingContext2D, seen: readonly Spot[], radius: number, ink: Ink): void {
  const online = new Path2D()
  const offline = new Path2D()
  for (const { device, x, y } of seen) {
    const path = device.online ? online : offline
    path.moveTo(x + radius, y)
    path.arc(x, y, radius, 0, Math.PI * 2)
  }
  context.fillStyle = ink.device
  context.fill(online)
  context.strokeStyle = ink.offline
  context.lineWidth = 1
  context.stroke(offline)
}

function drawChips(
  context: CanvasRenderingContext2D,
  seen: readonly Spot[],
  ink: Ink,
  initial: (kind: string) => string,
): void {
  context.textAlign = 'center'
  context.textBaseline = 'middle'
  context.font = `500 11px ${ink.font}`
  context.lineWidth = 1.25
  for (const { device, x, y } of seen) {
    context.beginPath()
    context.roundRect(x - CHIP_PX, y - CHIP_PX, CHIP_PX * 2, CHIP_PX * 2, 5)
    if (device.online) {
      context.fillStyle = ink.chip
      context.fill()
    }
    context.strokeStyle = device.online ? ink.chipLine : ink.offline
    context.setLineDash(device.online ? [] : [2, 2])
    context.stroke()
    context.fillStyle = device.online ? ink.letter : ink.offline
    context.fillText(initial(device.kind), x, y + 0.5)
  }
  context.setLineDash([])
}

/** The device nearest to a point of the screen, if one is within reach. */
export function deviceAt(
  devices: Iterable<Device>,
  view: View,
  screen: Size,
  px: number,
  py: number,
): Device | null {
  const reach = view.scale >= CHIP_SCALE ? CHIP_PX + 3 : 7
  let found: Device | null = null
  let nearest = reach * reach
  for (const device of devices) {
    if (!shown(device, view.scale)) continue
    const dx = screen.width / 2 + (device.x - view.cx) * view.scale - px
    const dy = screen.height / 2 + (device.y - view.cy) * view.scale - py
    const distance = dx * dx + dy * dy
    if (distance <= nearest) {
      nearest = distance
      found = device
    }
  }
  return found
}
