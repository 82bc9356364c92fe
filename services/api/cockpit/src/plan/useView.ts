/** The plan's window as people move it: drag, wheel, pinch, keys, and gentle flights. It is never reset under them. */
import type { Ref } from 'vue'
import { onMounted, onUnmounted, ref, shallowRef } from 'vue'
import type { Size, View } from './view'
import { between, fit, focus, panned, zoomed } from './view'

const FLIGHT_MS = 700
const CLICK_SLACK_PX = 4

export interface PlanView {
  view: Ref<View>
  screen: Ref<Size>
  /** True once a person moved the window: from then on only they and alarms move it. */
  touched: Ref<boolean>
  /** True while an alarm holds the window: a change of the screen's size does not fit it anew. */
  held: Ref<boolean>
  flyTo(to: View): void
  /** As a person's own move: it is kept. */
  goTo(to: View): void
  focusOn(x: number, y: number): void
  fitAll(): void
  /** Takes the size that the window has now; none (not shown) changes nothing. */
  measure(): void
  zoomBy(factor: number): void
  handlers: {
    pointerdown(event: PointerEvent): void
    pointermove(event: PointerEvent): void
    pointerup(event: PointerEvent): void
    pointercancel(event: PointerEvent): void
    wheel(event: WheelEvent): void
    keydown(event: KeyboardEvent): void
  }
}

export function usePlanView(
  box: Ref<HTMLElement | null>,
  plan: () => Size,
  onClick: (x: number, y: number) => void,
): PlanView {
  const screen = shallowRef<Size>({ width: 0, height: 0 })
  const view = shallowRef<View>({ cx: 0, cy: 0, scale: 1 })
  const touched = ref(false)
  const held = ref(false)
  const pointers = new Map<number, { x: number; y: number }>()
  let travelled = 0
  let frame = 0

  /** Where the window was sent before it had a size. */
  let awaited: { x: number; y: number } | null = null

  function sized(now: Size): void {
    const before = screen.value
    if (now.width === 0 || now.height === 0) return
    if (now.width === before.width && now.height === before.height) return
    screen.value = now
    if ((!touched.value && !held.value) || before.width === 0) view.value = fit(plan(), now)
    if (awaited) view.value = focus(plan(), now, awaited.x, awaited.y)
    awaited = null
  }

  function measure(): void {
    if (box.value) sized({ width: box.value.clientWidth, height: box.value.clientHeight })
  }

  const observer = new ResizeObserver(measure)
  onMounted(() => {
    measure()
    if (box.value) observer.observe(box.value)
  })
  onUnmounted(() => {
    observer.disconnect()
    cancelAnimationFrame(frame)
  })

  function flyTo(to: View): void {
    cancelAnimationFrame(frame)
    if (matchMedia('(prefers-reduced-motion: reduce)').matches || document.visibilityState !== 'visible') {
      view.value = to
      return
    }
    const from = view.value
    const start = performance.now()
    const step = (now: number) => {
      const share = Math.min(1, (now - start) / FLIGHT_MS)
      view.value = between(from, to, share)
      if (share < 1) frame = requestAnimationFrame(step)
    }
    frame = requestAnimationFrame(step)
  }

  function moved(next: View): void {
    cancelAnimationFrame(frame)
    touched.value = true
    view.value = next
  }

  function zoomBy(factor: number, px = screen.value.width / 2, py = screen.value.height / 2): void {
    moved(zoomed(view.value, screen.value, plan(), factor, px, py))
  }

  function fitAll(): void {
    touched.value = false
    flyTo(fit(plan(), screen.value))
  }

  function local(event: MouseEvent): { x: number; y: number } {
    const corner = box.value?.getBoundingClientRect()
    return { x: event.clientX - (corner?.left ?? 0), y: event.clientY - (corner?.top ?? 0) }
  }

  function spread(): { distance: number; x: number; y: number } {
    const [one, other] = [...pointers.values()]
    if (!one || !other) return { distance: 1, x: 0, y: 0 }
    return {
      distance: Math.max(1, Math.hypot(one.x - other.x, one.y - other.y)),
      x: (one.x + other.x) / 2,
      y: (one.y + other.y) / 2,
    }
  }

  const handlers: PlanView['handlers'] = {
    pointerdown(event) {
      if (event.button !== 0) return
      if (pointers.size === 0) travelled = 0
      pointers.set(event.pointerId, local(event))
    },
    pointermove(event) {
      const before = pointers.get(event.pointerId)
      if (!before) return
      const at = local(event)
      const was = spread()
      pointers.set(event.pointerId, at)
      travelled += Math.hypot(at.x - before.x, at.y - before.y)
      if (travelled <= CLICK_SLACK_PX) return
      // Captured only once it is a drag: a click must still reach the building under it.
      box.value?.setPointerCapture(event.pointerId)
      if (pointers.size === 1) {
        moved(panned(view.value, at.x - before.x, at.y - before.y, plan()))
      } else {
        const now = spread()
        moved(zoomed(view.value, screen.value, plan(), now.distance / was.distance, now.x, now.y))
      }
    },
    pointerup(event) {
      if (!pointers.delete(event.pointerId)) return
      if (pointers.size === 0 && travelled <= CLICK_SLACK_PX) {
        const at = local(event)
        onClick(at.x, at.y)
      }
    },
    pointercancel(event) {
      pointers.delete(event.pointerId)
    },
    wheel(event) {
      event.preventDefault()
      const at = local(event)
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1
      zoomBy(Math.exp((-event.deltaY * lines) / 420), at.x, at.y)
    },
    keydown(event) {
      const step = 60
      const pan = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[
        event.key
      ]
      if (pan) moved(panned(view.value, pan[0] ?? 0, pan[1] ?? 0, plan()))
      else if (event.key === '+' || event.key === '=') zoomBy(1.4)
      else if (event.key === '-') zoomBy(1 / 1.4)
      else if (event.key === '0') fitAll()
      else return
      event.preventDefault()
    },
  }

  return {
    view,
    screen,
    touched,
    held,
    flyTo,
    goTo(to) {
      touched.value = true
      flyTo(to)
    },
    focusOn(x, y) {
      if (screen.value.width === 0) awaited = { x, y }
      else flyTo(focus(plan(), screen.value, x, y))
    },
    fitAll,
    measure,
    zoomBy,
    handlers,
  }
}
