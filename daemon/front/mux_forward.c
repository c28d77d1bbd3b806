/* Forwards (-L, -R, -D, -W) are not served: whoever asks for one is told so in a way that cannot be overheard. */
#include "daemon/front/mux_handlers.h"

static void refuse(struct sl_mux_client *c, uint32_t rid)
{
    sl_mux_client_refuse_loudly(c, rid, "this version of sshleased does not forward ports");
}

void sl_mux_on_open_fwd(struct sl_mux_client *c, const struct sl_mux_msg *msg)
{
    refuse(c, msg->rid);
}

void sl_mux_on_close_fwd(struct sl_mux_client *c, const struct sl_mux_msg *msg)
{
    refuse(c, msg->rid);
}

void sl_mux_on_stdio_fwd(struct sl_mux_client *c, const struct sl_mux_msg *msg)
{
    refuse(c, msg->rid);
    c->fds = SL_MUX_FDS_UNWANTED;
}

void sl_mux_on_stdio_fwd_fds(struct sl_mux_client *c, const int fd[SL_MUX_STDIO_FWD_FDS])
{
    (void)c;
    (void)fd;
}

void sl_mux_forwards_drop(struct sl_mux_client *c)
{
    (void)c;
}
