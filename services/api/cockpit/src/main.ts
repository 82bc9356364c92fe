import './i18n/rooms'
import { createApp } from 'vue'
import App from './App.vue'
import './styles/tokens.css'
import './styles/base.css'

createApp(App).mount('#app')
// After the first paint: the face table alone is larger than the rest of the style.
void import('./styles/fonts')
