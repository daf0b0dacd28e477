/** @file All pages, by their addresses. */

import { accountPage } from "./pages/account.js";
import { cartPage } from "./pages/cart.js";
import { homePage } from "./pages/home.js";
import { lostPage } from "./pages/lost.js";
import { operationsPage } from "./pages/operations.js";
import { orderPage } from "./pages/order.js";
import { ordersPage, salesPage } from "./pages/orders.js";
import { forgottenPage, newPasswordPage } from "./pages/password.js";
import { productsPage } from "./pages/products.js";
import { shopPage } from "./pages/shop.js";
import { signInPage, registerPage } from "./pages/sign_in.js";
import { treasuryPage } from "./pages/treasury.js";
import { walletPage } from "./pages/wallet.js";
import { webhooksPage } from "./pages/webhooks.js";

/** For everybody: who follows the link may still be signed in here. */
const NEW_PASSWORD = { path: /^\/new-password\/([\w-]+)$/, title: "New password", show: newPasswordPage };

/** @type {import("./router.js").Route[]} */
export const ROUTES = [
  { path: /^\/$/, title: "Welcome", show: homePage },
  { path: /^\/shop$/, title: "Shop", show: shopPage },
  { path: /^\/cart$/, title: "Cart", show: cartPage },
  { path: /^\/orders$/, title: "Orders", show: ordersPage },
  { path: /^\/orders\/([0-9a-f-]{36})$/, title: "Order", show: orderPage },
  { path: /^\/sales$/, title: "Sales", show: salesPage },
  { path: /^\/products$/, title: "Products", show: productsPage },
  { path: /^\/webhooks$/, title: "Webhooks", show: webhooksPage },
  { path: /^\/wallet$/, title: "Wallet", show: walletPage },
  { path: /^\/treasury$/, title: "Treasury", show: treasuryPage },
  { path: /^\/operations$/, title: "Operations", show: operationsPage },
  { path: /^\/account$/, title: "Account", show: accountPage },
  NEW_PASSWORD,
  { path: /.*/, title: "Not found", show: lostPage },
];

/** @type {import("./router.js").Route[]} */
export const SIGNED_OUT_ROUTES = [
  { path: /^\/register$/, title: "Register", show: registerPage },
  { path: /^\/forgotten$/, title: "Forgotten password", show: forgottenPage },
  NEW_PASSWORD,
  { path: /.*/, title: "Sign in", show: signInPage },
];
