/** The plan's window: what part of the community is on the screen. Pure geometry; metres in, pixels out. */

export interface Size {
  width: number
  height: number
}

/** Centre in metres, scale in pixels a metre. */
export interface View {
  cx: number
  cy: number
  scale: number
}

export const MARGIN_PX = 20
export const MAX_SCALE = 24

export function fit(plan: Size, screen: Size, margin = MARGIN_PX): View {
  const scale = Math.min(
    Math.max(1, screen.width - 2 * margin) / Math.max(1, plan.width),
    Math.max(1, screen.height - 2 * margin) / Math.max(1, plan.height),
  )
  return { cx: plan.width / 2, cy: plan.height / 2, scale }
}

export function toScreen(view: View, screen: Size, x: number, y: number): [number, number] {
  return [screen.width / 2 + (x - view.cx) * view.scale, screen.height / 2 + (y - view.cy) * view.scale]
}

export function toPlan(view: View, screen: Size, px: number, py: number): [number, number] {
  return [view.cx + (px - screen.width / 2) / view.scale, view.cy + (py - screen.height / 2) / view.scale]
}

export function panned(view: View, dx: number, dy: number, plan: Size): View {
  return clamp({ ...view, cx: view.cx - dx / view.scale, cy: view.cy - dy / view.scale }, plan)
}

/** Zooms about a point of the screen that stays where it is. */
export function zoomed(view: View, screen: Size, plan: Size, factor: number, px: number, py: number): View {
  const least = fit(plan, screen).scale * 0.6
  const scale = Math.min(MAX_SCALE, Math.max(least, view.scale * factor))
  const [x, y] = toPlan(view, screen, px, py)
  return clamp(
    { cx: x - (px - screen.width / 2) / scale, cy: y - (py - screen.height / 2) / scale, scale },
    plan,
  )
}

/** Close enough to see one building and its neighbours. */
export function focus(plan: Size, screen: Size, x: number, y: number): View {
  const near = Math.min(screen.width, screen.height) / 130
  return { cx: x, cy: y, scale: Math.min(MAX_SCALE, Math.max(fit(plan, screen).scale, near)) }
}

/** Near enough that all of these places fill the screen. */
export function around(plan: Size, screen: Size, places: readonly { x: number; y: number }[]): View {
  const xs = places.map((one) => one.x)
  const ys = places.map((one) => one.y)
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)]
  const room = fit({ width: right - left, height: bottom - top }, screen, screen.width / 6)
  return {
    cx: (left + right) / 2,
    cy: (top + bottom) / 2,
    scale: Math.min(MAX_SCALE, Math.max(room.scale, fit(plan, screen).scale)),
  }
}

export function between(from: View, to: View, share: number): View {
  const eased = share < 0.5 ? 4 * share ** 3 : 1 - (-2 * share + 2) ** 3 / 2
  return {
    cx: from.cx + (to.cx - from.cx) * eased,
    cy: from.cy + (to.cy - from.cy) * eased,
    scale: from.scale * (to.scale / from.scale) ** eased,
  }
}

function clamp(view: View, plan: Size): View {
  return {
    ...view,
    cx: Math.min(plan.width, Math.max(0, view.cx)),
    cy: Math.min(plan.height, Math.max(0, view.cy)),
  }
}
