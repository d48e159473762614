// A room over ws: whoever connects to /sub hears what anybody says over /pub.
import { WebSocketServer } from 'ws'

const room = new Set()
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), perMessageDeflate: false, backlog: 1024 })
server.on('connection', (socket, request) => {
  if (request.url === '/sub') {
    room.add(socket)
    socket.on('close', () => room.delete(socket))
  } else {
    socket.on('message', said => {
      for (const hearer of room) hearer.send(said, { binary: false })
    })
  }
})
