import { createApp } from 'vue'
import '../styles/tokens.css'
import '../styles/base.css'
import Phone from './Phone.vue'

createApp(Phone).mount('#app')
void import('../styles/fonts')
