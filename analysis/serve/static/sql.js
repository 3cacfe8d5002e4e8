import './serve.js';
