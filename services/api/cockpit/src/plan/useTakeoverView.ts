/** An alarm that nobody has takes the plan to its place, gently, and gives the view back once somebody has it. */
import { watch } from 'vue'
import type { Takeover } from '../alarm/useTakeover'
import type { Alert } from '../api/types'
import type { Live } from '../live/useLive'
import type { PlanView } from './useView'
import type { View } from './view'

export function placeOf(
  live: Live,
  alert: Pick<Alert, 'device_id' | 'building_id'>,
): { x: number; y: number } | null {
  const state = live.state.value
  if (!state) return null
  const device = alert.device_id ? state.devices.get(alert.device_id) : undefined
  if (device) return { x: device.x, y: device.y }
  const building = state.plan.buildings.find((one) => one.id === alert.building_id)
  return building ? { x: building.x + building.width / 2, y: building.y + building.depth / 2 } : null
}

export function useTakeoverView(live: Live, takeover: Takeover, plan: PlanView): void {
  let before: { view: View; touched: boolean } | null = null
  let flown = ''

  function giveBack(): void {
    flown = ''
    plan.held.value = false
    if (!before) return
    if (before.touched) plan.flyTo(before.view)
    else plan.fitAll()
    before = null
  }

  // Who moved the window during the takeover has chosen a view: it stays.
  watch(plan.view, () => {
    if (before && plan.touched.value && !before.touched) before = null
  })
  watch(
    [takeover.alert, plan.screen],
    ([alert, screen]) => {
      if (!alert) return giveBack()
      // Not laid out yet (a tab that is not shown): as soon as it is.
      if (flown === alert.id || screen.width === 0) return
      const place = placeOf(live, alert)
      if (!place) return
      before ??= { view: plan.view.value, touched: plan.touched.value }
      flown = alert.id
      plan.held.value = true
      plan.focusOn(place.x, place.y)
    },
    { immediate: true, flush: 'post' },
  )
}
